"""TCP_INFO as Linux lays it out: `struct tcp_info` of linux/tcp.h, from a `TcpInfo`.

Times there are microseconds (milliseconds for those that end in _sent or _recv), and some counts are of segments.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.state import State

if TYPE_CHECKING:
    from asyncstack.transport.tcp.info import TcpInfo

STATES: Final = (
    State.ESTABLISHED,
    State.SYN_SENT,
    State.SYN_RECEIVED,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.TIME_WAIT,
    State.CLOSED,
    State.CLOSE_WAIT,
    State.LAST_ACK,
    State.LISTEN,
    State.CLOSING,
)  # tcp_states.h, from 1
CA_STATES: Final = ("open", "disorder", "cwr", "recovery", "loss")
OPTIONS: Final = {"timestamps": 1, "sack": 2, "wscale": 4, "ecn": 8, "ecn_seen": 16, "syn_data": 32}

# state .. scales and flags | rto .. total_retrans | rates, bytes | segs .. | delivery .. | delivered | bytes | the rest
LAYOUT: Final = struct.Struct("@8B 24I 4Q 6I 4Q 2I 2Q 6I 2H I")
SIZE: Final = LAYOUT.size
MOST: Final = 0xFFFFFFFF
UNLIMITED: Final = (1 << 64) - 1


def pack(info: TcpInfo) -> bytes:
    """`struct tcp_info`, 248 bytes."""
    return LAYOUT.pack(*_head(info), *_words(info), *_counts(info))


def _micros(seconds: float) -> int:
    return min(max(round(1e6 * seconds), 0), MOST)


def _millis(seconds: float) -> int:
    return min(max(round(1e3 * seconds), 0), MOST)


def _rate(rate: float) -> int:
    return UNLIMITED if rate >= UNLIMITED else round(rate)


def _head(info: TcpInfo) -> tuple[int, ...]:
    return (
        STATES.index(info.state) + 1,
        CA_STATES.index(info.ca_state),
        min(info.retransmits, 255),
        min(info.probes, 255),
        min(info.backoff, 255),
        sum(OPTIONS.get(name, 0) for name in info.options),
        info.snd_wscale | info.rcv_wscale << 4,
        int(info.delivery_rate_app_limited),
    )


def _words(info: TcpInfo) -> tuple[int, ...]:
    return (
        _micros(info.rto),
        _micros(info.ato),
        info.snd_mss,
        info.rcv_mss,
        info.unacked,
        info.sacked,
        info.lost,
        info.retrans,
        0,  # fackets: Linux counts none any more
        _millis(info.last_data_sent),
        0,  # last_ack_sent: not remembered, there neither
        _millis(info.last_data_recv),
        _millis(info.last_ack_recv),
        info.pmtu,
        min(info.rcv_ssthresh, MOST),
        _micros(info.rtt),
        _micros(info.rttvar),
        min(info.snd_ssthresh, MOST),
        min(info.snd_cwnd, MOST),
        info.advmss,
        info.reordering,
        _micros(info.rcv_rtt),
        min(info.rcv_space, MOST),
        info.total_retrans & MOST,
    )


def _counts(info: TcpInfo) -> tuple[int, ...]:
    segment = max(info.snd_mss, 1)
    return (
        _rate(info.pacing_rate) if info.pacing_rate else UNLIMITED,
        _rate(info.max_pacing_rate),
        info.bytes_acked,
        info.bytes_received,
        info.segs_out & MOST,
        info.segs_in & MOST,
        min(info.notsent_bytes, MOST),
        _micros(info.min_rtt),
        info.data_segs_in & MOST,
        info.data_segs_out & MOST,
        _rate(info.delivery_rate),
        round(1e6 * info.busy_time),
        round(1e6 * info.rwnd_limited),
        round(1e6 * info.sndbuf_limited),
        -(-info.delivered // segment) & MOST,
        info.delivered_ce & MOST,
        info.bytes_sent,
        info.bytes_retrans,
        info.dsack_dups & MOST,
        info.reord_seen & MOST,
        info.rcv_ooopack & MOST,
        min(info.snd_wnd, MOST),
        min(info.rcv_wnd, MOST),
        0,  # rehash: the path is not hashed here
        min(info.total_rto, 0xFFFF),
        min(info.total_rto_recoveries, 0xFFFF),
        _millis(info.total_rto_time),
    )
