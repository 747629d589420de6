"""Tests against the kernel and its programs, over TUN and TAP, on both kinds of event loop.

A test that is parametrised with a `medium` runs on one of the loops for each, on both in all.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

import asyncstack
from asyncstack.link import claims
from tests.interop.loops import Factory, loops_of
from tests.interop.medium import NAMES, OURS6, PLAIN_TUN, TAP, Host, Medium, host


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    return loops_of(item)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not _is_surplus(item)]


def _is_surplus(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    medium = parameters.get("medium")
    if not isinstance(medium, Medium):
        return False
    other = (medium in (TAP, PLAIN_TUN)) != (parameters.get("ours") == OURS6)
    return ("asyncio" if other else "uvloop") not in item.callspec.id.split("-")


def pytest_make_parametrize_id(val: object) -> str | None:
    return NAMES.get(val) if isinstance(val, Medium) else None


@pytest.fixture
def quick_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """To find out whether nobody has an IPv4 address takes a tenth of RFC 5227's time, 4 to 7 seconds."""
    for name in ("PROBE_WAIT", "PROBE_MIN", "PROBE_MAX", "ANNOUNCE_WAIT", "ANNOUNCE_INTERVAL"):
        monkeypatch.setattr(claims, name, getattr(claims, name) / 10)


@pytest.fixture
async def checked_capture(tmp_path: Path) -> AsyncIterator[asyncstack.Capture]:
    """A capture to attach interfaces to. As of every capture, tests/test_sent.py is the judge."""
    async with asyncstack.Capture(tmp_path / "run.pcapng") as capture:
        yield capture
    assert (capture.captured > 0, capture.dropped) == (True, 0)


@pytest.fixture
async def peered(medium: Medium, checked_capture: asyncstack.Capture) -> AsyncIterator[Host]:
    """A stack on `medium`, which the test is parametrised with; all its packets are captured and checked."""
    async with host(medium) as made:
        checked_capture.attach(made.interface)
        yield made
