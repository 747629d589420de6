"""Samples of the delivery rate (draft-cheng-iccrg-delivery-rate-estimation; draft-ietf-ccwg-bbr 4.1).

Each record on the scoreboard notes, as it leaves, how much had been delivered by then and when. When it is delivered
itself, the difference is what the path delivered in the time between:

    delivered = delivered now - delivered when it left
    interval  = the longer of: the time it took to acknowledge that; the time it took to send it

The second bounds the rate by that of sending, as ACKs may have been compressed on their way. An interval below the
smallest round trip comes of a segment that was sent twice, and says nothing. A sample taken while the application
had nothing to send says what it sent and not what the path carries: `app_limited`, until all that was in flight when
the application ran dry has been delivered.

Of all records that an ACK delivers the one sent last counts. What had been delivered when it left also counts round
trips: one has passed when something is delivered that left after the last one had ended.

While the window is not full and the controller does not go by rates, all this is for TCP_INFO. So a sample is then only
noted (`puts_off`) and worked out when somebody asks (`look`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import AckSample
    from asyncstack.transport.tcp.scoreboard import Scoreboard, Transmission


def puts_off(board: Scoreboard, newest: Transmission, una: int, now: float) -> bool:
    """Leave the sample that the ACK up to `una` gives to `look`. False: it has to be taken now, as it is odd."""
    if newest.times > 1 or now <= newest.delivered_at or newest.end > una:
        return False
    board.unlooked = newest, board.delivered, now
    board.newest = None
    board.delivered_at = now
    board.first_sent = newest.sent_at
    return True


def look(board: Scoreboard, sample: AckSample) -> None:
    """Somebody asks for the rate after all: that of the last sample put off."""
    if board.unlooked is None:
        return
    newest, delivered, now = board.unlooked
    board.unlooked = None
    sample.fresh = True
    sample.delivered = delivered - newest.delivered
    sample.interval = max(now - newest.delivered_at, newest.sent_at - newest.first_sent)
    sample.app_limited = newest.app_limited


def take_sample(board: Scoreboard, sample: AckSample, min_rtt: float, now: float, whole: bool = True) -> None:
    """What the ACK that the board has just been told of says about the path. Not `whole`: its rate alone, for who looks
    at no more while the window is not full."""
    newest = board.newest
    if newest is None:
        sample.fresh = False
        return
    board.newest = None
    board.delivered_at = now
    sent_at = board.first_sent = newest.sent_at
    interval = now - newest.delivered_at
    sending = sent_at - newest.first_sent
    if sending > interval:
        interval = sending
    once = newest.times == 1
    if whole:
        sample.latest_rtt = now - sent_at if once else 0.0
        sample.total_delivered = board.delivered
        sample.prior_delivered = newest.delivered
        sample.in_flight = newest.in_flight
        sample.lost_since = board.given_up - newest.given_up
    sample.fresh = fresh = interval > 0.0 and (once or interval >= min_rtt)
    if fresh:
        sample.delivered = board.delivered - newest.delivered
        sample.interval = interval
        sample.app_limited = newest.app_limited
