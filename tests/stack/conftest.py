"""A stack's life over real devices, on both kinds of event loop."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
