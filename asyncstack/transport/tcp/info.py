"""What can be seen of a connection: the fields of Linux's `struct tcp_info`, by their names."""

from __future__ import annotations

from dataclasses import dataclass

from asyncstack.transport.tcp.state import State


@dataclass(slots=True)
class TcpInfo:
    """One look at a connection. Times are seconds, sizes bytes except where said otherwise."""

    state: State
    ca_state: str  # "open", "recovery" or "loss"
    congestion: str  # name of the controller
    options: tuple[str, ...]  # of "timestamps", "sack", "wscale": what both ends agreed on
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
    lost: int  # segments
    retrans: int  # retransmitted segments in flight
    pipe: int  # bytes believed to be in the network (RFC 6675)
    retransmits: int  # time-outs in a row
    backoff: int  # doublings of the RTO, or of the probe interval
    probes: int  # unanswered probes
    total_retrans: int  # segments
    reordering: int  # segments
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
    pacing_rate: float  # bytes per second; 0.0 if the controller does not pace
    rcv_ooopack: int  # segments received out of order
    last_data_sent: float  # seconds ago
    last_data_recv: float
    last_ack_recv: float
