"""Which event loops a test runs on."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import uvloop

Factory = Callable[[], asyncio.AbstractEventLoop]
FACTORIES: Mapping[str, Factory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_uvloop(test: Any) -> Any:
    """A test that takes its time and does not look at what the loop does: on one loop, the usual one."""
    test.loops = ("uvloop",)
    return test


def loops_of(item: pytest.Item) -> Mapping[str, Factory]:
    """For `pytest_asyncio_loop_factories`: both, unless the test says otherwise."""
    return {name: FACTORIES[name] for name in getattr(item.obj, "loops", FACTORIES)}
