"""How long to wait for a server, and how often to ask again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_WAIT = 30.0  # seconds between two tries, whatever a server asks for


@dataclass(frozen=True)
class Patience:
    """The rule by which requests are repeated.

    Attributes
    ----------
    tries
        How often a request is made before it counts as failed.
    first_wait
        Seconds before the second try; each later wait is twice as long.
    timeout
        Seconds without a byte after which a connection counts as dead; None for
        ``HF_HUB_DOWNLOAD_TIMEOUT``.
    """

    tries: int = 5
    first_wait: float = 0.25
    timeout: float | None = None

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait before each further try; one fewer than there are tries."""
        for repeat in range(self.tries - 1):
            yield min(self.first_wait * 2**repeat, LONGEST_WAIT)


PATIENCE = Patience()


def wait(seconds: float, asked: float | None) -> None:
    """Sleep before the next try: as long as planned, or longer if the server asked for that."""
    time.sleep(min(max(seconds, asked or 0.0), LONGEST_WAIT))
