"""Tests against the kernel and its programs, over TUN and TAP, on both kinds of event loop.

A test that has a `medium` runs on one loop for each of them, unless its module sets EVERY_LOOP: on the selector
loop over a TUN with offload and a TAP without, on uvloop over the others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

import asyncstack
from tests.interop.medium import NAMES, PLAIN_TAP, TUN, Host, Medium, host
from tests.interop.tshark import faults
from tests.programs import require_program

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not _is_surplus(item)]


def _is_surplus(item: pytest.Item) -> bool:
    medium = item.callspec.params.get("medium") if hasattr(item, "callspec") else None
    if not isinstance(medium, Medium) or getattr(item.module, "EVERY_LOOP", False):
        return False
    return ("asyncio" if medium in (TUN, PLAIN_TAP) else "uvloop") not in item.callspec.id.split("-")


def pytest_make_parametrize_id(val: object) -> str | None:
    return NAMES.get(val) if isinstance(val, Medium) else None


@pytest.fixture
async def checked_capture(tmp_path: Path) -> AsyncIterator[asyncstack.Capture]:
    """A capture to attach interfaces to. At the end tshark has to find it without fault."""
    require_program("tshark")
    async with asyncstack.Capture(tmp_path / "run.pcapng") as capture:
        yield capture
    assert (capture.captured > 0, capture.dropped) == (True, 0)
    assert await faults(capture.path) == []


@pytest.fixture
async def peered(medium: Medium, checked_capture: asyncstack.Capture) -> AsyncIterator[Host]:
    """A stack on `medium`, which the test is parametrised with; all its packets are captured and checked."""
    async with host(medium) as made:
        checked_capture.attach(made.interface)
        yield made
