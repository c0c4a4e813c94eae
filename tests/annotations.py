"""Where annotations are not checked, though the tests check them of every call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping


@contextmanager
def unchecked() -> Iterator[None]:
    """Call functions as users do, without the checks, which take most of the time of a small input.

    For what is done thousands of times; other tests call the same functions with the checks.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
