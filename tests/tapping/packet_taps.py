"""What the stacks of a process send while a test runs, as a sample, and every capture that it closes, in a folder.

For the process of pytest and, by `sitecustomize`, for all that the tests start; the variable SENT_BY names the test,
and SENT_CAPTURES the folder in that folder for captures.
What is sampled is what an interface is about to pass to its device; so frames that tests forge, or that a link damages,
are not among it. A super-segment is there cut, as software does it. In the file every test is an interface, with its
name. A frame is written at once: many a process is killed.
"""

import os
import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

from asyncstack.link import pcapng
from asyncstack.link.capture import Capture, captured_bytes
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.interface import Interface
from asyncstack.link.memory import ETHERNET_HEADER
from asyncstack.link.segmentation import segment

FIRST: Final = 100  # frames of a test, in a process, that are all taken
STEP: Final = 64  # of those that follow one in so many is
MOST: Final = 200  # until there are so many
LONGEST: Final = 2048  # bytes of one; longer ones are not taken
CUT: Final = 4  # super-segments of a test
LARGEST: Final = 128 << 20  # bytes of a capture

FOLDER, TEST, CAPTURES = "SENT_PACKETS", "SENT_BY", "SENT_CAPTURES"  # variables


class Taps:
    """Of this process, and of each that is forked from it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._sample: _Sample | None = None
        self._serials = count()
        self._open()

    def install(self) -> Callable[[], None]:
        """Have every interface made, and every capture closed, from here on say so. Returns what ends that."""
        make, close = Interface.__init__, Capture.close

        def make_tapped(interface: Interface, *args: Any, **options: Any) -> None:
            make(interface, *args, **options)
            self._tap(interface)

        async def close_and_keep(capture: Capture) -> None:
            started = capture._file is not None
            await close(capture)
            if started:
                self._keep(capture.path)

        def restore() -> None:
            Interface.__init__, Capture.close = make, close  # type: ignore[method-assign]

        Interface.__init__, Capture.close = make_tapped, close_and_keep  # type: ignore[method-assign]
        return restore

    def _tap(self, interface: Interface) -> None:
        if test := os.environ.get(TEST):
            if self._sample is None or self._sample.test != test:
                self._sample = _Sample(test, self)
            interface.taps.append(self._sample.take)

    def _keep(self, path: Path) -> None:
        if test := os.environ.get(TEST):
            assert path.stat().st_size <= LARGEST, f"{path}: a capture this large takes too long to judge"
            name = file_of(test, f" {os.getpid()}-{next(self._serials)}")
            shutil.copyfile(path, os.path.join(self._folder, os.environ[CAPTURES], name))

    def write(self, test: str, ethernet: bool, data: bytes) -> None:
        """Add a packet that `test` has sent."""
        if self._process != os.getpid():
            self._open()
        blocks: list[Any] = []
        if not self._numbers:
            blocks.append(pcapng.section_header())
        if (test, ethernet) not in self._numbers:
            self._numbers[test, ethernet] = len(self._numbers)
            kind = pcapng.LINKTYPE_ETHERNET if ethernet else pcapng.LINKTYPE_RAW
            blocks.append(pcapng.interface_description(test, kind))
        number = self._numbers[test, ethernet]
        head, tail = pcapng.packet(number, time.time_ns(), len(data), pcapng.OUTBOUND)
        os.writev(self._file, [*blocks, head, data, tail])

    def _open(self) -> None:
        """Each process has a file, and begins a section of it: one before it may have had the same number."""
        self._process = os.getpid()
        self._numbers: dict[tuple[str, bool], int] = {}
        path = os.path.join(self._folder, f"{self._process}.pcapng")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def file_of(test: str, serial: str = "") -> str:
    """A name for a file with packets of `test`."""
    return f"{test.replace('/', '+')[:200]}{serial}.pcapng"


class _Sample:
    """The first frames of a test, and now and then one of those that follow."""

    def __init__(self, test: str, taps: Taps) -> None:
        self.test = test
        self._taps = taps
        self._seen = self._taken = self._cut = 0

    def take(self, interface: Any, frame: Any) -> None:
        if not isinstance(frame, OutgoingFrame):
            return
        self._seen += 1
        if self._seen > FIRST and (self._seen % STEP or self._taken >= MOST):
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
            self._taken += 1
            self._taps.write(self.test, ethernet, bytes(captured_bytes(frame)))
