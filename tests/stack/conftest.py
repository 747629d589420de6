"""A stack's life over real devices, on both kinds of event loop."""

from collections.abc import Mapping

import pytest

from tests.interop.loops import Factory, loops_of


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    return loops_of(item)
