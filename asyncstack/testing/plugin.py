"""The pytest plugin: async tests in virtual time, and a simulated network as a fixture.

    @pytest.mark.virtual_time(limit=600)
    async def test_upload(network):
        a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
        network.link(a, b, delay=0.05, loss=0.02)

The mark needs pytest-asyncio, which runs the test, in its strict mode too.
`network` works in real time too. Its seed is made from the name of the test, so that every run repeats the last
one; `--asyncstack-seed` sets another, or `random`. A failing test reports its seed, and with
`--asyncstack-capture` leaves a pcapng file of all links.

Files named *.pkt are packetdrill scripts: each is a test, skipped with the reason if it needs what only a kernel has.
"""

from __future__ import annotations

import functools
import inspect
import re
import zlib
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import asyncio

    from asyncstack.testing.network import Network

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # without pytest-asyncio some other plugin has to run async fixtures
    async_fixture = pytest.fixture  # type: ignore[assignment]

LoopFactory = Callable[[], "asyncio.AbstractEventLoop"]

_HOOK: Final = "pytest_asyncio_loop_factories"
_MARK: Final = (
    "virtual_time(limit=86400.0, start=0.0, seed=None): run this async test on a loop whose clock jumps; "
    "limit is in seconds of virtual time"
)
_SEED: Final = pytest.StashKey[int]()
_CAPTURE: Final = pytest.StashKey[Path]()
_FAILED: Final = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the command line."""
    group = parser.getgroup("asyncstack")
    group.addoption(
        "--asyncstack-seed",
        metavar="N",
        help="seed of the `network` fixture: a number, or `random`; default: made from the test's name",
    )
    group.addoption(
        "--asyncstack-capture",
        metavar="DIR",
        nargs="?",
        const="build/captures",
        help="leave the packets of failing tests in DIR (default build/captures)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, declare the mark."""
    config.addinivalue_line("markers", _MARK)
    seed = config.getoption("--asyncstack-seed")
    if seed not in (None, "random") and not re.fullmatch(r"-?\d+", seed):
        raise pytest.UsageError(f"--asyncstack-seed={seed}: give a number, or `random`")


# packetdrill scripts


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A packetdrill script is a file with one test."""
    return ScriptFile.from_parent(parent, path=file_path) if file_path.suffix == ".pkt" else None


class ScriptFile(pytest.File):
    """A *.pkt file."""

    def collect(self) -> list[pytest.Item]:
        """Its one test."""
        return [ScriptItem.from_parent(self, name=self.path.stem)]


class ScriptItem(pytest.Item):
    """The run of one script."""

    def runtest(self) -> None:
        """Run it."""
        from asyncstack.testing.packetdrill import Outcome, run_file

        result = run_file(self.path)
        for line in result.output:
            print(line)
        if result.outcome is Outcome.UNSUPPORTED:
            pytest.skip(f"unsupported: {result.reason}")
        if not result.passed:
            raise ScriptFailed(result.text())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report of the script, instead of a trace of ours."""
        if isinstance(excinfo.value, ScriptFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is."""
        return self.path, None, f"packetdrill: {self.name}"


class ScriptFailed(Exception):
    """What happened is not what the script says; its text is the report."""


# the loop


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, Any, Any]:
    """Have pytest-asyncio, whose turn is next, take a marked test for one of its own, as in its auto mode."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Function) and item.get_closest_marker("virtual_time") is not None:
            _mark_asyncio(item)
    return made


def _mark_asyncio(item: pytest.Function) -> None:
    property_of = getattr(item.obj, "hypothesis", None)  # with @given the test is inside
    function = item.obj if property_of is None else property_of.inner_test
    if inspect.iscoroutinefunction(function) and item.get_closest_marker("asyncio") is None:
        item.add_marker("asyncio")


class _VirtualLoop:
    """What tells pytest-asyncio which loop to make. It is there only while a marked test is looked at, because with any
    such hook pytest-asyncio treats all tests of a run in another way."""

    def __init__(self, factory: LoopFactory) -> None:
        self._factory = factory

    @pytest.hookimpl(tryfirst=True)
    def pytest_asyncio_loop_factories(
        self, config: pytest.Config, item: pytest.Item
    ) -> Mapping[str, LoopFactory] | None:
        return {"virtual_time": self._factory}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, Any, Any]:
    """Have a marked test run on a virtual loop."""
    mark = metafunc.definition.get_closest_marker("virtual_time")
    if mark is None:
        return (yield)
    if not hasattr(metafunc.config.hook, _HOOK):
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: virtual_time needs pytest-asyncio: "
            "pip install 'pytest-asyncio>=1.5'"
        )
    _mark_asyncio(metafunc.definition)
    manager = metafunc.config.pluginmanager
    name = manager.register(_VirtualLoop(_loop_factory(mark, metafunc.definition.nodeid)))
    try:
        return (yield)
    finally:
        manager.unregister(name=name)


def _loop_factory(mark: pytest.Mark, nodeid: str) -> LoopFactory:
    unknown = sorted(set(mark.kwargs) - {"limit", "start", "seed"})
    if mark.args or unknown:
        raise pytest.UsageError(f"{nodeid}: virtual_time takes limit=, start= and seed= only")
    return functools.partial(_new_event_loop, **mark.kwargs)


def _new_event_loop(**arguments: Any) -> asyncio.AbstractEventLoop:
    from asyncstack.testing.clock import new_event_loop

    return new_event_loop(**arguments)


# the network


@async_fixture
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """A simulated network with a seed, closed after the test."""
    from asyncstack.testing.network import Network

    item = request.node
    seed = item.stash[_SEED] = _choose_seed(item)
    directory = request.config.getoption("--asyncstack-capture")
    async with Network(seed) as net:
        if directory is None:
            yield net
            return
        path = item.stash[_CAPTURE] = Path(directory, re.sub(r"[^\w.-]+", "_", item.nodeid) + ".pcapng")
        path.parent.mkdir(parents=True, exist_ok=True)
        async with net.capture(path):
            yield net
        if not item.stash.get(_FAILED, False):
            path.unlink()


def _choose_seed(item: pytest.Item) -> int:
    option = item.config.getoption("--asyncstack-seed")
    if option == "random":
        from random import SystemRandom

        return SystemRandom().getrandbits(32)
    if option is not None:
        return int(option)
    mark = item.get_closest_marker("virtual_time")
    seed = mark.kwargs.get("seed") if mark is not None else None
    return zlib.crc32(item.nodeid.encode()) if seed is None else seed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to repeat a failure on a simulated network."""
    report = yield
    seed = item.stash.get(_SEED, None)
    if report.failed and seed is not None:
        item.stash[_FAILED] = True
        lines = [f"the network's seed was {seed}; repeat with --asyncstack-seed={seed}"]
        if _CAPTURE in item.stash:
            lines.append(f"packets: {item.stash[_CAPTURE]}")
        report.sections.append(("simulated network", "\n".join(lines)))
    return report
