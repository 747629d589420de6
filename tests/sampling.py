"""A pytest plugin: what the stacks of each test send, and the captures it makes, in a folder for the last tests to
judge.

`tests/tapping` takes them, here and in the processes that tests start. A test that has a stack send what is wrong on
purpose is marked `forges`, with the reason: nothing of it is judged. Where others do, or a link damages packets, it is
`hostile`: of a capture what goes out is judged.
"""

import os
from pathlib import Path
from typing import Any, Final

import pytest

from tests.tapping import packet_taps
from tests.tapping.joining import join
from tests.tapping.packet_taps import CAPTURES, FOLDER, TEST, Taps

WHOLE: Final = "whole"  # a file that says so
ALL, OUTBOUND = "captures", "outbound"  # folders of captures, by what is judged

SAMPLING: Final = pytest.StashKey["Sampling"]()


class Sampling:
    """What is in `folder`, which the caller removes. The workers of `-n`, of which this is `worker`, share it, and
    another run judges it. Registered as a plugin."""

    def __init__(self, folder: Path, worker: str = "") -> None:
        self.folder = folder.resolve()
        self.judged: list[str] = []  # what, in words
        self._worker = worker
        for made in (self.folder, self.folder / ALL, self.folder / OUTBOUND):
            made.mkdir(parents=True, exist_ok=True)
            made.chmod(0o1777)  # a process may have given up its user
        os.environ[FOLDER] = str(self.folder)
        tapping = str(Path(packet_taps.__file__).parent)
        paths = [tapping, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
        self._restore = Taps(str(self.folder)).install()

    def begin(self, config: pytest.Config) -> None:
        """Note whether all tests will run."""
        whole = config.args == config.getini("testpaths") and not config.option.keyword
        if whole and config.option.markexpr == "not long":
            (self.folder / WHOLE).touch()

    @property
    def whole(self) -> bool:
        """Whether it is of a run of all tests."""
        return (self.folder / WHOLE).exists()

    @property
    def processes(self) -> list[Path]:
        """The files with what each process has sent."""
        return sorted(path for path in self.folder.glob("*.pcapng") if path.stat().st_size)

    def captures(self, judged: str) -> list[Path]:
        """The copies of the captures that tests have made. judged: ALL or OUTBOUND."""
        return sorted((self.folder / judged).glob("*.pcapng"))

    def joined(self, test: str | None = None) -> Path:
        """All files of the sample as one, or what is in them of a test."""
        path = self.folder / "joined"
        join(self.processes, path, test)
        return path

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.judged:
            terminalreporter.write_line(f"tshark has judged {line}")

    def pytest_unconfigure(self) -> None:
        self._restore()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        if item.get_closest_marker("forges") is None:
            os.environ[TEST] = item.nodeid
            os.environ[CAPTURES] = OUTBOUND if item.get_closest_marker("hostile") else ALL
        try:
            return (yield)
        finally:
            os.environ.pop(TEST, None)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The judgement is last, and not for one of several workers."""
        for item in items:
            for mark in (*item.iter_markers("forges"), *item.iter_markers("hostile")):
                if not mark.args:
                    raise pytest.UsageError(f'{item.nodeid}: {mark.name}("what is wrong on purpose")')
        if self._worker:
            items[:] = [item for item in items if item.get_closest_marker("after_all") is None]
        items.sort(key=lambda item: item.get_closest_marker("after_all") is not None)


def made_by(capture: Path) -> str:
    """The test that has made it."""
    return capture.name.rpartition(" ")[0].replace("+", "/")
