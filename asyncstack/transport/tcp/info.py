"""What can be seen of a connection: the fields of Linux's `struct tcp_info`, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncstack.transport.tcp.congestion.base import INFINITE
from asyncstack.transport.tcp.ecn import CE, ECT0, ECT1
from asyncstack.transport.tcp.phase import LOSS, OPEN, RECOVERY
from asyncstack.transport.tcp.state import State

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection

NO_BYTES: Final = (0, 0, 0, 0)
NO_THRESHOLD: Final = 0x7FFFFFFF


@dataclass(slots=True)
class TcpInfo:
    """One look at a connection. Times are seconds, sizes bytes except where said otherwise."""

    state: State
    ca_state: str  # "open", "disorder", "cwr", "recovery" or "loss"
    congestion: str  # name of the controller
    options: tuple[
        str, ...
    ]  # of "timestamps", "sack", "wscale", "ecn", "ecn_seen", "syn_data": what was agreed on, or came
    snd_wscale: int
    rcv_wscale: int
    rto: float
    rtt: float  # smoothed; 0.0 before the first sample
    rttvar: float
    min_rtt: float
    snd_mss: int
    rcv_mss: int
    advmss: int
    snd_cwnd: int  # segments, as in Linux
    snd_cwnd_bytes: int
    snd_ssthresh: int  # segments; 0x7fffffff before the first loss, as in Linux
    snd_ssthresh_bytes: int
    snd_wnd: int
    rcv_wnd: int
    rcv_space: int  # size of the receive buffer
    unacked: int  # segments in flight or lost, as in Linux
    sacked: int  # segments
    lost: int  # segments, those sent again included until they are acknowledged, as in Linux
    retrans: int  # retransmitted segments in flight
    pipe: int  # bytes believed to be in the network (RFC 6675)
    retransmits: int  # time-outs in a row
    backoff: int  # doublings of the RTO, or of the probe interval
    probes: int  # unanswered probes
    total_retrans: int  # segments
    reordering: int  # segments
    reord_seen: int  # how often something arrived out of order
    bytes_sent: int  # retransmissions included
    bytes_retrans: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    segs_in: int
    data_segs_out: int
    data_segs_in: int
    notsent_bytes: int
    delivered: int  # bytes the peer has, in order or not
    delivery_rate: float  # bytes per second, over the last acknowledged flight; 0.0 before
    delivery_rate_app_limited: bool
    pacing_rate: float  # bytes per second; 0.0 if the connection is not paced
    rcv_ooopack: int  # segments received out of order
    last_data_sent: float  # seconds ago
    last_data_recv: float
    last_ack_recv: float
    ato: float  # how long an acknowledgement is delayed
    rcv_ssthresh: int  # most that the window may be now
    rcv_rtt: float  # the receiver's estimate; 0.0 before there is one
    max_pacing_rate: float  # bytes per second; math.inf: no limit
    busy_time: float  # something was outstanding
    rwnd_limited: float  # ... and the peer's window was the limit
    sndbuf_limited: float  # 0.0: the send buffer follows the congestion window
    # by AccECN (RFC 9768), 0 without it: what the peer says that it got, and what came; packets, and bytes of payload
    delivered_ce: int
    delivered_ce_bytes: int
    delivered_e0_bytes: int
    delivered_e1_bytes: int
    received_ce: int  # also without AccECN
    received_ce_bytes: int
    received_e0_bytes: int
    received_e1_bytes: int
    dsack_dups: int  # DSACKs received
    total_rto: int  # expiries of the retransmission timer
    total_rto_recoveries: int
    total_rto_time: float
    # what the endpoint knows
    pmtu: int = 0
    local: tuple[Any, ...] = ()  # as `getsockname()` has it
    remote: tuple[Any, ...] = ()


def describe(conn: Connection, now: float) -> TcpInfo:
    """Fill a `TcpInfo`."""
    snd, rcv, config, history = conn.sender, conn.receiver, conn.config, conn.sender.history
    board, rtt, control = snd.board, snd.rtt, snd.congestion
    mss = snd.mss
    ecn, accurate = conn.ecn, snd.accecn
    delivered, received = (
        (NO_BYTES, NO_BYTES) if accurate is None else (accurate.delivered_bytes, accurate.received_bytes)
    )
    received_ce = 0 if ecn is None else ecn.received_ce
    agreed = {
        "timestamps": rcv.timestamps,
        "sack": rcv.sack_ok,
        "wscale": conn.scaling,
        "ecn": ecn is not None,
        "ecn_seen": received_ce > 0 or sum(received[1:]) > 0,
        "syn_data": conn.fast_open is not None and conn.fast_open.syn_data,
    }
    sent = max(min(snd.nxt, snd.queue.end) - snd.queue_start, 0)
    # what a tail loss probe or a spurious timeout sent again was not lost
    repaired = board.resent_bytes if snd.phase is RECOVERY or snd.phase is LOSS else 0
    sample = snd.sample
    rate = sample.delivered / sample.interval if sample.interval > 0.0 else 0.0
    infinite = control.ssthresh >= INFINITE
    return TcpInfo(
        state=conn.state,
        ca_state="disorder" if snd.phase is OPEN and (board.sacked or snd.dup_acks) else snd.phase.value,
        congestion=control.name,
        options=tuple(name for name, on in agreed.items() if on),
        snd_wscale=snd.scale,
        rcv_wscale=rcv.scale,
        rto=rtt.rto,
        rtt=rtt.srtt,
        rttvar=rtt.rttvar,
        min_rtt=rtt.min_rtt,
        snd_mss=mss,
        rcv_mss=rcv.mss,
        advmss=conn.link_mss,
        snd_cwnd=control.cwnd // mss,
        snd_cwnd_bytes=control.cwnd,
        snd_ssthresh=NO_THRESHOLD if infinite else control.ssthresh // mss,
        snd_ssthresh_bytes=control.ssthresh,
        snd_wnd=max(snd.edge - snd.una, 0),
        rcv_wnd=rcv.edge - rcv.nxt,
        rcv_space=rcv.buffer,
        unacked=-(-(snd.nxt - snd.una) // mss),
        sacked=-(-board.sacked // mss),
        lost=-(-(board.lost + repaired) // mss),
        retrans=-(-board.resent_bytes // mss),
        pipe=snd.pipe,
        retransmits=snd.timeouts,
        backoff=max(rtt.backoff, snd.probes),
        probes=max(snd.probes, conn.keepalive_probes),
        total_retrans=snd.segments_sent_again,
        reordering=snd.rack.reordering,
        reord_seen=snd.rack.reordering_seen,
        bytes_sent=sent + snd.bytes_sent_again,
        bytes_retrans=snd.bytes_sent_again,
        bytes_acked=max(snd.una - snd.queue_start, 0),
        bytes_received=max(min(rcv.nxt, rcv.fin_at) - rcv.start, 0),
        segs_out=conn.segs_out,
        segs_in=conn.segs_in,
        data_segs_out=conn.data_segs_out,
        data_segs_in=conn.data_segs_in,
        notsent_bytes=conn.sender.unsent,
        delivered=board.delivered,
        delivery_rate=rate,
        delivery_rate_app_limited=sample.app_limited,
        pacing_rate=snd.pacer.rate(snd) if snd.pacer is not None else 0.0,
        rcv_ooopack=rcv.out_of_order,
        last_data_sent=now - snd.last_sent,
        last_data_recv=now - rcv.last_data,
        last_ack_recv=now - conn.heard_at,
        ato=config.delayed_ack,
        rcv_ssthresh=rcv.buffer,
        rcv_rtt=rcv.rtt,
        max_pacing_rate=config.max_pacing_rate,
        busy_time=snd.busy + (now - snd.busy_since if snd.busy_since >= 0.0 else 0.0),
        rwnd_limited=snd.window_limited
        + (now - snd.window_limited_since if snd.window_limited_since >= 0.0 else 0.0),
        sndbuf_limited=0.0,
        delivered_ce=0 if accurate is None else accurate.delivered_ce,
        delivered_ce_bytes=delivered[CE],
        delivered_e0_bytes=delivered[ECT0],
        delivered_e1_bytes=delivered[ECT1],
        received_ce=received_ce,
        received_ce_bytes=received[CE],
        received_e0_bytes=received[ECT0],
        received_e1_bytes=received[ECT1],
        dsack_dups=history.dsack_dups,
        total_rto=history.timeouts,
        total_rto_recoveries=history.timeout_recoveries,
        total_rto_time=history.timeout_time,
    )
