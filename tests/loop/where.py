"""Where a program runs: on the kernel's sockets, or unchanged on a stack's, on each of our loops.

The stack has the loopback addresses here, so that the same `socket.socket().bind(("127.0.0.1", 0))` works in both.
"""

import asyncio
import functools
import gc
import inspect
import os
import warnings

import pytest

from asyncstack import EventLoop, SelectorEventLoop, Stack
from asyncstack.testing import VirtualTimeLoop

LOOPS = {"uvloop": EventLoop, "selector": SelectorEventLoop, "virtual": VirtualTimeLoop}
PATIENCE = 20.0


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _loops(kernel: bool) -> dict[str, object]:
    return {"kernel": asyncio.SelectorEventLoop, **LOOPS} if kernel else LOOPS


def everywhere(test=None, *, kernel=True, loops=None):
    """Run `test(stack)`, a coroutine function, on the kernel (`stack` is None) and on each of our loops; nothing may be
    left behind: no task, no descriptor, no socket of the stack, no exception that nobody saw."""
    if test is None:
        return functools.partial(everywhere, kernel=kernel, loops=loops)

    @pytest.mark.parametrize("loop", loops or _loops(kernel))
    @functools.wraps(test)
    def run(loop, **arguments):
        _loops(kernel)[loop]().close()  # the first of uvloop's opens descriptors that stay
        gc.freeze()  # what hundreds of other tests have left is not walked through each time
        try:
            before = _descriptors()
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always", ResourceWarning)
                with asyncio.Runner(loop_factory=_loops(kernel)[loop]) as runner:
                    runner.run(_run(test, loop == "kernel", arguments))
                gc.collect()
        finally:
            gc.unfreeze()
        assert _descriptors() <= before
        assert [str(one.message) for one in warned] == []

    del run.__wrapped__
    run.__signature__ = _signature(test)
    return run


def _signature(test):
    """pytest sees the fixtures of `test`, and `loop` in the place of its first argument."""
    first, *others = inspect.signature(test).parameters.values()
    return inspect.Signature([first.replace(name="loop"), *others])


async def _run(test, on_kernel, arguments):
    loop = asyncio.get_running_loop()
    errors = []
    loop.set_exception_handler(lambda loop, context: errors.append(context))
    if on_kernel:
        await asyncio.wait_for(test(None, **arguments), PATIENCE)
    else:
        async with Stack() as stack:
            loop.stacks.loopback = True
            await asyncio.wait_for(test(stack, **arguments), PATIENCE)
            await until(lambda: not loop.adoptions)
            await until(lambda: not stack._sockets)
            assert not stack.tcp.claims._by_port
            assert not len(stack.tcp.listeners)
            assert not stack.tcp.lingering
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert errors == []


async def until(condition):
    """Wait until `condition()`."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)
