"""The link of the model check: it does to each packet what the script says, until it is healed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.segmentation import segment
from asyncstack.wire import checksum
from tests.model.script import CUT, DAMAGED, LATE, LOST, MARKED, TWICE, Fate

PASSED: Final = ""
CE: Final = 3
IP_HEADER: Final = 20
Watch = Callable[[bytes, str], None]  # a packet as it enters, and its fate


class Adversary:
    """One way, in the place of a link's `Direction`: what `sender` puts on the wire passes here."""

    clear = False  # so that the device asks us about each frame

    def __init__(
        self,
        fates: Sequence[Fate],
        delay: float,
        deliver: Callable[[list[Frame]], None],
        watch: Watch,
    ) -> None:
        self.healed = False
        self._delay = delay
        self._deliver = deliver
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._fates: dict[int, Fate] = {}
        for fate in reversed(fates):  # of two for one packet the first counts
            self._fates.update(dict.fromkeys(range(fate.first, fate.first + fate.count), fate))

    def send(self, frame: OutgoingFrame) -> bool:
        """Take `frame`; what is to pass arrives later, in order but for those held back."""
        for piece in segment(frame) if frame.gso_size else [frame]:
            data = bytearray().join(piece.parts)
            if piece.checksum_start:
                checksum.complete(data, piece.checksum_start, piece.checksum_offset)
            self._number += 1
            fate = None if self.healed else self._fates.get(self._number)
            self._watch(bytes(data), PASSED if fate is None else fate.fate)
            self._pass(data, fate)
        return True

    def _pass(self, data: bytearray, fate: Fate | None) -> None:
        what = PASSED if fate is None else fate.fate
        if fate is None or what == TWICE:
            self._arrive(data, 0.0)
        if fate is None or what == LOST:
            return
        if what in (LATE, TWICE):
            self._arrive(data, fate.seconds)
        elif what == DAMAGED:
            bit = int(fate.share * len(data) * 8)
            data[bit >> 3] ^= 1 << (bit & 7)
            self._arrive(data, 0.0)
        elif what == CUT:
            self._arrive(data[: int(fate.share * len(data))], 0.0)
        elif what == MARKED:
            if data[0] >> 4 == 6:
                data[1] |= CE << 4 if data[1] & CE << 4 else 0
            elif data[1] & CE:
                data[1] |= CE
                data[10:12] = bytes(2)
                data[10:12] = checksum.checksum(data[:IP_HEADER]).to_bytes(2, "big")
            self._arrive(data, 0.0)

    def _arrive(self, data: bytearray, late: float) -> None:
        frame = Frame(memoryview(bytes(data)))
        self._loop.call_at(self._loop.time() + self._delay + late, self._deliver, [frame])
