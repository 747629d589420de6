"""The two ends of a TFTP transfer (RFC 1350, 7440). Do no I/O and read no clock.

    receive_packet(packet, now), timer_expired(now), fail(code, text)
    packets_to_send(now), deadline, state, error

A `Sending` is supplied with data while it has room, a `Receiving` has `received` it. Both begin with a packet that is
said until the other end says something that follows it. A block that was acknowledged twice is not sent twice for that
(RFC 1123 4.2.3.1, the sorcerer's apprentice): only time, or a window that has a hole, makes one go back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Final

from asyncstack.application.tftp.terms import Terms
from asyncstack.wire import tftp
from asyncstack.wire.tftp import Ack, Data, Error, OptionAck, Packet

TRIES: Final = 6  # that something is said without an answer
_BLOCKS: Final = 1 << 16


class State(Enum):
    """How far it is."""

    OPENING = "opening"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Input(Enum):
    """What happens."""

    ANSWERED = "answered"
    FINISHED = "finished"
    BROKEN = "broken"


TRANSITIONS: Final = {
    (State.OPENING, Input.ANSWERED): State.RUNNING,
    (State.RUNNING, Input.FINISHED): State.DONE,
    (State.OPENING, Input.BROKEN): State.FAILED,
    (State.RUNNING, Input.BROKEN): State.FAILED,
    (State.DONE, Input.BROKEN): State.FAILED,  # what was heard last can not be kept
}


class Transfer:
    """One end. `opening` is said first; b"": the other end has. `agree` makes terms of the options that a server
    answers with, None: we are the server. `error` says why it failed; None: the other end says nothing more."""

    def __init__(
        self,
        opening: bytes,
        terms: Terms,
        now: float,
        agree: Callable[[tftp.Options], Terms] | None = None,
    ) -> None:
        self.state = State.OPENING
        self.terms = terms
        self.error: Error | None = None
        self.deadline = math.inf
        self._agree = agree
        self._opening = opening
        self._packets: list[bytes] = []
        self._tries = 0
        if opening:
            self._say(opening, now)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be said or heard."""
        return self.state in (State.DONE, State.FAILED)

    def receive_packet(self, packet: Packet, now: float) -> None:
        """What the other end says."""
        if self.is_over:
            self._receive_late(packet, now)
        elif isinstance(packet, Error):
            self.error = packet
            self._apply(Input.BROKEN)
        elif isinstance(packet, OptionAck) and self._agree is not None:
            if self.state is State.OPENING:
                self._receive_options(packet, now)
        else:
            self._receive(packet, now)

    def _receive_options(self, packet: OptionAck, now: float) -> None:
        assert self._agree is not None
        try:
            self.terms = self._agree(packet.options)
        except ValueError as exc:
            self.fail(tftp.OPTIONS, f"option {exc} was not asked for")
        else:
            self._begin(now)

    def timer_expired(self, now: float) -> None:
        """Say it again, or give up."""
        if now < self.deadline:
            return
        if self._tries >= TRIES:
            self._apply(Input.BROKEN)
        else:
            self._again(now)

    def fail(self, code: int, text: str) -> None:
        """End it, and say so in the place of what was to be said."""
        if self.state is not State.FAILED:
            self.error = Error(code, text)
            self._packets = [tftp.build(self.error)]
            self._apply(Input.BROKEN)

    def packets_to_send(self, now: float) -> list[bytes]:
        """What is due since the last call."""
        packets, self._packets = self._packets, []
        return packets

    def _say(self, packet: bytes, now: float) -> None:
        self._packets.append(packet)
        self._tries += 1
        self.deadline = now + self.terms.timeout

    def _again(self, now: float) -> None:
        """Nothing was heard for too long."""
        raise NotImplementedError

    def _begin(self, now: float) -> None:
        """The other end has taken the options."""
        raise NotImplementedError

    def _receive(self, packet: Packet, now: float) -> None:
        raise NotImplementedError

    def _receive_late(self, packet: Packet, now: float) -> None:
        """After the end."""

    def _apply(self, event: Input) -> None:
        """The one place that assigns `state`."""
        self.state = TRANSITIONS.get((self.state, event), self.state)
        if self.is_over:
            self.deadline = math.inf


class Sending(Transfer):
    """The end that has the file."""

    def __init__(
        self,
        opening: bytes,
        terms: Terms,
        now: float,
        agree: Callable[[tftp.Options], Terms] | None = None,
    ) -> None:
        self._window: list[bytes] = []  # blocks from `_first` on, not acknowledged
        self._first = 1
        self._complete = False  # the last block is in the window, or was
        self._went_back = False
        super().__init__(opening, terms, now, agree)
        if not opening:
            self._apply(Input.ANSWERED)

    @property
    def room(self) -> int:
        """Bytes to be supplied now."""
        if self.state is not State.RUNNING or self._complete or self._window:
            return 0
        return self.terms.window * self.terms.block

    def supply(self, data: bytes, now: float) -> None:
        """The next `room` bytes; fewer are the last."""
        size = self.terms.block
        self._complete = len(data) < self.terms.window * size
        count = self.terms.window if not self._complete else len(data) // size + 1
        self._window = [data[at * size : (at + 1) * size] for at in range(count)]
        self._tries = 0
        self._went_back = False
        self._send_window(now)

    def _send_window(self, now: float) -> None:
        self._tries += 1
        self.deadline = now + self.terms.timeout
        for number, block in enumerate(self._window, self._first):
            self._packets.append(tftp.build(Data(number % _BLOCKS, block)))

    def _again(self, now: float) -> None:
        if self.state is State.OPENING:
            self._say(self._opening, now)
        else:
            self._went_back = False
            self._send_window(now)

    def _begin(self, now: float) -> None:
        self._apply(Input.ANSWERED)
        self.deadline = math.inf

    def _receive(self, packet: Packet, now: float) -> None:
        if not isinstance(packet, Ack):
            self.fail(tftp.ILLEGAL, "an acknowledgement was expected")
        elif self.state is State.OPENING:
            if packet.block == 0:
                if self._agree is not None:
                    self.terms = Terms(timeout=self.terms.timeout)  # the server knows no options
                self._begin(now)
        else:
            self._receive_ack((packet.block - self._first + 1) % _BLOCKS, now)

    def _receive_ack(self, count: int, now: float) -> None:
        """The first `count` blocks of the window are there."""
        if not self._window or count > len(self._window):
            return  # of before
        if count == 0 and (self._went_back or self.terms.window == 1):
            return
        del self._window[:count]
        self._first += count
        if self._window:
            self._tries = 0 if count else self._tries
            self._went_back = True
            self._send_window(now)
            return
        self.deadline = math.inf
        if self._complete:
            self._apply(Input.FINISHED)


class Receiving(Transfer):
    """The end that gets the file, of `most` bytes at most."""

    def __init__(
        self,
        opening: bytes,
        terms: Terms,
        now: float,
        agree: Callable[[tftp.Options], Terms] | None = None,
        *,
        most: int,
    ) -> None:
        self._most = most
        self._size = 0
        self._last = 0  # block
        self._unacked = 0
        self._told_of_hole = False
        self._data: list[bytes] = []
        super().__init__(opening, terms, now, agree)

    def received(self) -> bytes:
        """The data since the last call."""
        data, self._data = b"".join(self._data), []
        return data

    def _acknowledge(self, now: float) -> None:
        self._unacked = 0
        self._say(tftp.build(Ack(self._last % _BLOCKS)), now)

    def _again(self, now: float) -> None:
        if self.state is State.OPENING:
            self._say(self._opening, now)
        else:
            self._acknowledge(now)

    def _begin(self, now: float) -> None:
        self._apply(Input.ANSWERED)
        self._tries = 0
        self._acknowledge(now)

    def _receive(self, packet: Packet, now: float) -> None:
        if not isinstance(packet, Data) or len(packet.data) > self.terms.block:
            self.fail(tftp.ILLEGAL, f"a block of {self.terms.block} bytes at most was expected")
            return
        ahead = (packet.block - self._last) % _BLOCKS
        if ahead == 1:
            self._take(packet.data, now)
        elif ahead == 0:
            self._acknowledge(now)  # ours was lost
        elif ahead <= self.terms.window and not self._told_of_hole:
            self._told_of_hole = True
            self._acknowledge(now)

    def _receive_late(self, packet: Packet, now: float) -> None:
        """Our last acknowledgement was lost."""
        if self.state is State.DONE and isinstance(packet, Data) and packet.block == self._last % _BLOCKS:
            self._packets.append(tftp.build(Ack(packet.block)))

    def _take(self, data: bytes, now: float) -> None:
        if self.state is State.OPENING:
            if self._agree is not None:
                self.terms = Terms(timeout=self.terms.timeout)  # the server knows no options
            self._apply(Input.ANSWERED)
        self._size += len(data)
        if self._size > self._most:
            self.fail(tftp.DISK_FULL, f"no more than {self._most} bytes are taken")
            return
        self._data.append(data)
        self._last += 1
        self._unacked += 1
        self._told_of_hole = False
        self._tries = 0
        self.deadline = now + self.terms.timeout
        last = len(data) < self.terms.block
        if last or self._unacked >= self.terms.window:
            self._acknowledge(now)
        if last:
            self._apply(Input.FINISHED)
