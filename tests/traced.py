"""How much memory a piece of a test takes."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """The bytes allocated since. Not to be begun before a program is started: the child of a fork can wait for ever for
    the lock of `tracemalloc`, and what it was forked from waits for it."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
