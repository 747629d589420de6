"""Needless retransmissions: finding out, and taking the reduction of the window back.

- Eifel detection (RFC 3522): the ACK of something sent again echoes a timestamp older than its first repetition, so
  it answers the original
- DSACK (RFC 2883, 3708): every byte sent again has been reported as having come twice
- F-RTO (RFC 5682): after a timeout the first ACK that advances lets new data out instead of repetitions. If the next
  ones deliver what was sent only once (with SACK: anything of it, at once), the timeout came too early. A duplicate,
  or news of the new data only, says that the loss was real.

The answer is Linux's: cwnd and ssthresh as they were (`CongestionControl.on_undo`), what was presumed lost is in
flight again, and after a timeout the RTO starts anew from the round trip that was too long for it (RFC 4015 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncstack.transport.tcp.sender import Sender


class Spurious:
    """What is known about the last reduction. Positions unwrapped, sizes in bytes."""

    __slots__ = ("first_at", "frto", "marker", "reduced", "testing", "unconfirmed")

    def __init__(self) -> None:
        self.marker = -1  # SND.UNA when it was made; below 0: there is nothing to undo
        self.unconfirmed = -1  # sent again since, and not reported as having come twice; below 0: nothing was
        self.first_at = -1  # when the first repetition left, whole milliseconds
        self.reduced = False  # the window was made smaller
        self.frto = False  # RFC 5682 goes on
        self.testing = False  # step 2b: new data instead of repetitions

    def begin(self, una: int, flying_again: int, reduced: bool) -> None:
        """A reaction to loss begins; repetitions from before may be in the network."""
        self.marker = una
        self.unconfirmed = flying_again or -1
        self.reduced = reduced
        self.frto = self.testing = False

    def forget(self) -> None:
        """There is nothing to undo: the reaction was right, or an ECN echo asked for it."""
        self.marker = self.first_at = -1
        self.reduced = self.frto = self.testing = False

    def sent_again(self, size: int, now: float) -> None:
        """Something left once more."""
        if self.first_at < 0:
            self.first_at = int(now * 1000.0)
        self.unconfirmed = max(self.unconfirmed, 0) + size

    def receive_dsack(self, left: int, right: int) -> None:
        """[left, right) came twice."""
        if right > self.marker >= 0 and self.unconfirmed > 0:
            self.unconfirmed = max(self.unconfirmed - (right - left), 0)

    def delayed(self, echo: int) -> bool:
        """Whether an ACK that advances answers an original (RFC 3522 3.2). `echo`: see `Rack`."""
        return self.marker >= 0 and 0 <= echo < self.first_at

    def proved(self, echo: int) -> bool:
        """Whether an ACK that advances proves all repetitions needless."""
        return self.marker >= 0 and (self.unconfirmed == 0 or self.delayed(echo))


def undo(snd: Sender, still_flying: bool, now: float) -> None:
    """The window as it was; `still_flying`: nothing is presumed lost any more."""
    if still_flying:
        snd.board.unmark_lost()
    if snd.spurious.reduced:
        snd.congestion.on_undo(now)
    snd.spurious.forget()


def judge_timeout(snd: Sender, acked: int, sacked: int, duplicate: bool, now: float) -> bool:
    """An ACK after a timeout (RFC 5682 2.1, 3.1). Returns whether the timeout was spurious."""
    state, rack = snd.spurious, snd.rack
    if acked and state.proved(rack.echo):
        return True
    if not state.frto:
        return False
    # without SACK nobody knows what the ACK of a repetition covers besides (RFC 5682 2.1 step 2)
    if rack.original and (snd.sack_ok or not rack.repeated):
        return True
    if snd.nxt > snd.recover:
        if sacked or duplicate:
            state.frto = state.testing = False  # step 3a
    elif acked and snd.una < snd.recover:
        state.testing = True  # step 2b
    return False


def new_data_first(snd: Sender, unit: int) -> bool:
    """In F-RTO's test: whether new data has left, or may leave now. If not, the loss counts as real (step 2b)."""
    if snd.nxt > snd.recover:
        return True
    size = min(unit, snd.queue.end - snd.nxt)
    if size > 0 and snd.edge >= snd.nxt + size and (size == unit or not snd.patience):
        return True
    snd.spurious.frto = snd.spurious.testing = False
    return False
