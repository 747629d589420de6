"""A pytest plugin: a sample of what the stacks of each test send, in one pcapng file, for the last test to judge.

What is taken is what an interface is about to pass to its device; so frames that tests forge, or that a link damages,
are not among it. A super-segment is there cut, as software does it. Every test is an interface of the file, with its
name. A test that has a stack send what is wrong on purpose is marked `forges`.
"""

import os
import time
from pathlib import Path
from typing import Any, Final

import pytest

from asyncstack.link import pcapng
from asyncstack.link.capture import captured_bytes
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.interface import Interface
from asyncstack.link.memory import ETHERNET_HEADER
from asyncstack.link.segmentation import segment

FIRST: Final = 100  # frames of a test that are all taken
STEP: Final = 64  # of those that follow one in so many is
MOST: Final = 200  # until there are so many
LONGEST: Final = 2048  # bytes of one; longer ones are not taken
CUT: Final = 4  # super-segments of a test

WHOLE: Final = "whole"  # a file that says so

SAMPLING: Final = pytest.StashKey["Sampling"]()


class Sampling:
    """The sample of a run, in `folder`, which the caller removes; each `worker` of `-n` has a file there, and the run
    that judges them is another. Registered as a plugin."""

    def __init__(self, folder: Path, worker: str = "") -> None:
        self.folder = folder
        self._worker = worker
        self._path = folder / f"{worker or 'sent'}.pcapng"
        self._process = os.getpid()
        self._current: _OfOneTest | None = None
        self._interfaces = 0  # that the file has
        folder.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(pcapng.section_header())
        self._install()

    def begin(self, config: pytest.Config) -> None:
        """Note whether all tests will run."""
        whole = config.args == config.getini("testpaths") and not config.option.keyword
        if whole and config.option.markexpr == "not long":
            (self.folder / WHOLE).touch()

    @property
    def whole(self) -> bool:
        """Whether it is of a run of all tests."""
        return (self.folder / WHOLE).exists()

    def joined(self) -> Path:
        """All files of the sample as one."""
        path = self.folder / "all"
        path.write_bytes(b"".join(one.read_bytes() for one in sorted(self.folder.glob("*.pcapng"))))
        return path

    def _install(self) -> None:
        """Have every interface made from here on say what it sends."""
        make = Interface.__init__

        def make_tapped(interface: Interface, *args: Any, **options: Any) -> None:
            make(interface, *args, **options)
            if self._current is not None:
                interface.taps.append(self._current.take)

        Interface.__init__ = make_tapped  # type: ignore[method-assign]
        self._restore = lambda: setattr(Interface, "__init__", make)

    def pytest_unconfigure(self) -> None:
        self._restore()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        if item.get_closest_marker("forges") is None:
            self._current = _OfOneTest()
        try:
            return (yield)
        finally:
            current, self._current = self._current, None
            if current is not None and os.getpid() == self._process:
                self._write(item.nodeid, current)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The judgement is last, and not for one of several workers."""
        if self._worker:
            items[:] = [item for item in items if item.get_closest_marker("after_all") is None]
        items.sort(key=lambda item: item.get_closest_marker("after_all") is not None)

    def _write(self, name: str, sample: "_OfOneTest") -> None:
        blocks: list[Any] = []
        numbers: dict[bool, int] = {}
        now = time.time_ns()
        for ethernet, data in sample.frames:
            if ethernet not in numbers:
                numbers[ethernet] = self._interfaces
                self._interfaces += 1
                kind = pcapng.LINKTYPE_ETHERNET if ethernet else pcapng.LINKTYPE_RAW
                blocks.append(pcapng.interface_description(name, kind))
            head, tail = pcapng.packet(numbers[ethernet], now, len(data), pcapng.OUTBOUND)
            blocks += head, data, tail
        if blocks:
            with self._path.open("ab") as file:
                file.writelines(blocks)


class _OfOneTest:
    """Its first frames, and now and then one of those that follow."""

    def __init__(self) -> None:
        self.frames: list[tuple[bool, bytes]] = []  # whether with an Ethernet header, the bytes
        self._count = 0
        self._cut = 0

    def take(self, interface: Interface, frame: Any) -> None:
        if not isinstance(frame, OutgoingFrame):
            return
        self._count += 1
        if self._count > FIRST and (self._count % STEP or len(self.frames) >= MOST):
            return
        ethernet = interface.device.ethernet
        if not frame.gso_size:
            self._keep(ethernet, frame)
        elif self._cut < CUT:
            self._cut += 1
            for piece in segment(frame, ETHERNET_HEADER if ethernet else 0, partial=False):
                self._keep(ethernet, piece)

    def _keep(self, ethernet: bool, frame: OutgoingFrame) -> None:
        if len(frame) <= LONGEST:
            self.frames.append((ethernet, bytes(captured_bytes(frame))))
