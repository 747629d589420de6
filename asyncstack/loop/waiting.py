"""While addresses are waited for, before the program begins: that it is told, and that Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 1.0  # seconds of silence


@contextmanager
def telling(words: Sequence[str], name: str, tell: Callable[[str], object] | None) -> Iterator[None]:
    """If it takes more than `PATIENCE`, `tell` once which `words` the interface `name` waits for. In a running loop."""
    if tell is None or not words:
        yield
        return
    message = f"waiting for {', '.join(words)} on {name} ..."
    handle = asyncio.get_running_loop().call_later(PATIENCE, tell, message)
    try:
        yield
    finally:
        handle.cancel()


@contextmanager
def interrupting(waiting: asyncio.Task[None]) -> Iterator[None]:
    """Ctrl-C ends `waiting`, and is a KeyboardInterrupt then: the handler that `asyncio.Runner` has would cancel the
    program's task, which can not end before it has begun. Another Ctrl-C does not wait for that end."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    interrupted = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        waiting.get_loop().call_soon_threadsafe(waiting.cancel)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt
