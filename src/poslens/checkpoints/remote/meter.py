"""Bytes expected and bytes arrived, over all requests of one source, for a progress bar."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]


class Meter:
    """Counts for all threads; ``progress`` is called with (words, bytes arrived, bytes expected).

    Attributes
    ----------
    received
        Bytes of bodies that have arrived.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self.received, self._expected = 0, 0

    def expect(self, count: int) -> None:
        """Say that ``count`` more bytes have been asked for."""
        with self._lock:
            self._expected += count
            self._say()

    def receive(self, count: int) -> None:
        """Say that ``count`` more bytes have arrived."""
        with self._lock:
            self.received += count
            self._say()

    def _say(self) -> None:
        if self._progress is not None:
            done, total = self.received, max(self._expected, self.received)
            self._progress(f"received {done / 1e6:.1f} of {total / 1e6:.1f} MB", done, total)
