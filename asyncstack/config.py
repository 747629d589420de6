"""Settings, with their units and the sources of their defaults."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ECN_MODES = ("off", "passive", "on", "accecn", "accecn-on", "accecn-passive")


@dataclass(slots=True)
class TcpConfig:
    """TCP's settings. Times are seconds, sizes bytes. Defaults follow Linux where the RFCs leave a choice."""

    # "cubic", "reno", "bbr", the name of one registered with the stack, or a class derived from CongestionControl
    congestion: str | type[object] = "cubic"
    slow_start_after_idle: bool = True  # Linux: tcp_slow_start_after_idle, RFC 2861; False: RFC 7661
    pacing: bool = False  # also for controllers that do not pace by themselves; Linux: the fq queue
    max_pacing_rate: float = math.inf  # bytes per second, SO_MAX_PACING_RATE; paces where it is set
    initial_window: int = 10  # segments, RFC 6928
    reordering: int = 3  # segments: DupThresh of RFC 6675; Linux: tcp_reordering
    tail_loss_probe: bool = True  # RFC 8985 7; Linux: tcp_early_retrans
    frto: bool = True  # RFC 5682
    receive_buffer: int = 6 << 20  # most bytes of the receive window; Linux: tcp_rmem[2]
    # begin with 64 KiB and grow; Linux: tcp_moderate_rcvbuf, off by SO_RCVBUF
    tune_receive_buffer: bool = True
    # most bytes in flight and queued below the transport's own; Linux: tcp_wmem[2]
    send_buffer: int = 4 << 20
    tune_send_buffer: bool = True  # begin with 128 KiB and grow; off by SO_SNDBUF
    nodelay: bool = True  # asyncio sets TCP_NODELAY on its sockets; False is Nagle (RFC 896)
    cork: bool = False  # TCP_CORK: only full segments leave, the rest after 0.2 s
    notsent_lowat: int = 0  # most bytes written ahead of what may leave; 0: as many as the send buffer takes
    max_segment: int = 0  # TCP_MAXSEG: bounds the MSS, told and used; 0: the path's
    window_clamp: int = 0  # TCP_WINDOW_CLAMP: bounds the receive window; 0: the buffer does
    # of packets: IP_TOS (without the ECN bits), IPV6_TCLASS, IP_TTL, IPV6_UNICAST_HOPS; ttl and hops 0: the stack's
    tos: int = 0
    traffic_class: int = 0
    ttl: int = 0
    hops: int = 0
    timestamps: bool = True  # RFC 7323
    sack: bool = True  # RFC 2018
    window_scaling: bool = True  # RFC 7323
    min_rto: float = 0.2
    max_rto: float = 120.0
    initial_rto: float = 1.0  # RFC 6298
    syn_retries: int = 6
    synack_retries: int = 5
    syn_backlog: int = 1024  # half-open connections of a listener; Linux: tcp_max_syn_backlog
    # SYN cookies (RFC 4987) once that many are half open; Linux: tcp_syncookies 0, 1, 2
    syn_cookies: Literal["off", "when full", "always"] = "when full"
    # seconds that a listener waits for data on a connection before it is accepted, 0: not at all; TCP_DEFER_ACCEPT
    defer_accept: int = 0
    user_timeout: float = 924.0  # unacknowledged data this old ends the connection; Linux's tcp_retries2 = 15
    # as TCP_USER_TIMEOUT sets it: also for a closed window whose probes are answered, and instead of keepalive_count
    user_timeout_is_set: bool = False
    delayed_ack: float = 0.04
    keepalive: bool = False
    keepalive_idle: float = 7200.0
    keepalive_interval: float = 75.0
    keepalive_count: int = 9
    time_wait: float = 60.0  # 2 MSL
    fin_wait_2: float = 60.0  # after close(); RFC 9293 leaves it open, Linux: tcp_fin_timeout
    # SO_LINGER, seconds: 0.0 makes close() a RST; how long `StreamSocket.aclose` waits; None: off
    linger: float | None = None
    mtu_probing: bool = True  # RFC 4821, once a path seems to drop large packets; Linux: tcp_mtu_probing = 1
    base_mss: int = 1024  # what segments carry then, options included; Linux: tcp_base_mss
    mtu_probe_interval: float = 600.0  # until a search begins anew; Linux: tcp_probe_interval
    max_out_of_order_ranges: int = 1024  # 10 % loss on a path of 100 Mbit/s x 1 s
    # "off", "passive" (if the peer asks), "on" (RFC 3168), "accecn" (RFC 9768), "accecn-on", "accecn-passive" (AccECN
    # if the peer asks for it, and as they say else); Linux: tcp_ecn 0, 2, 1, 3, 4, 5
    ecn: str = "passive"
    accecn_option: bool = True  # Linux: tcp_ecn_option
    ecn_fallback: bool = True  # distrust what a path can not do, and try without; Linux: tcp_ecn_fallback

    # RFC 7413. Server: most handshakes that wait for their ACK while their data is read (TCP_FASTOPEN); client: whether
    # data may go on the SYN (TCP_FASTOPEN_CONNECT). 0: off
    fast_open: int = 0
    fast_open_key: bytes = b""  # 16 bytes, or 32: and the one before; b"": the stack's own; TCP_FASTOPEN_KEY
    fast_open_without_cookie: bool = False  # Linux: TCP_FASTOPEN_NO_COOKIE; lets anyone spoof a client

    def __post_init__(self) -> None:
        if self.ecn not in ECN_MODES:
            raise ValueError(f"ecn={self.ecn!r}: give one of {', '.join(ECN_MODES)}")
        if len(self.fast_open_key) not in (0, 16, 32):
            raise ValueError(f"fast_open_key of {len(self.fast_open_key)} bytes: give 16, or 32")


@dataclass(slots=True)
class DnsConfig:
    """The resolver's settings, with the words and defaults of resolv.conf(5). Times are seconds."""

    nameservers: Sequence[str] = ()  # addresses, asked in this order; without one, nobody is asked
    search: Sequence[str] = ()  # domains in which a name with fewer than `ndots` dots is looked for first
    ndots: int = 1
    timeout: float = 5.0  # for each server and attempt
    attempts: int = 2  # rounds through all servers
    edns_payload: int = 1232  # bytes of an answer that fits one packet anywhere, RFC 9715; 0: no EDNS
    cache_limit: int = 4096  # answers remembered
    query_limit: int = 256  # questions out at a time; others wait

    def __post_init__(self) -> None:
        check_servers("nameservers", self.nameservers)
        if isinstance(self.search, str):
            raise ValueError(f"search={self.search!r}: give a list")


def check_servers(name: str, servers: Sequence[str]) -> None:
    """Raises ValueError unless `servers`, which an argument called `name` says, are a list of addresses."""
    if isinstance(servers, str):
        raise ValueError(f"{name}={servers!r}: give a list")
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise ValueError(f"{name}={servers!r}: {server!r} is no address") from None


@dataclass(slots=True)
class StackConfig:
    """A stack's settings. Every table has its bound here."""

    tcp: TcpConfig = field(default_factory=TcpConfig)
    dns: DnsConfig = field(default_factory=DnsConfig)
    ttl: int = 64
    auto_flow_labels: bool = True  # RFC 6437, for IPv6; Linux: auto_flowlabels
    neighbor_limit: int = 1024
    # questions whether somebody has an address already, before it is ours, on Ethernet; 0: it is used at once
    dad_transmits: int = 1  # IPv6, RFC 4862 5.4, a second each; Linux: dad_transmits
    # what the lower half of link-local and advertised addresses comes from: a secret, so that it is the same on each
    # visit and another one on each network (RFC 7217), or the Ethernet address; Linux: addr_gen_mode
    address_generation: Literal["stable", "eui64"] = "stable"
    # keep it to keep the addresses; b"": each stack has its own; Linux: stable_secret
    stable_secret: bytes = b""
    # use addresses of a day for connections made (RFC 8981); Linux: use_tempaddr
    temporary_addresses: bool = False
    # before an IPv4 address is used, also one of DHCP (RFC 2131 4.4.1): 1 takes 2 to 3 s, RFC 5227 has 3, which take 4
    # to 7 s; 0: it is used at once. Announced and defended in any case
    ipv4_conflict_probes: int = 0
    # from the router in use, to another one on its link; Linux: accept_redirects
    accept_redirects: bool = True
    fragment_datagrams: int = 256
    fragment_bytes: int = 4 << 20
    time_wait_limit: int = 16384
    connection_limit: int = 65536
    udp_queue: int = 256 << 10  # bytes a datagram endpoint holds while it can not send
    memory: int = 512 << 20  # bytes all connections may hold, see transport/tcp/memory.py; Linux: tcp_mem
    icmp_errors_per_second: float = 1000.0
    resets_per_second: float = 1000.0  # in answer to segments of no connection
    challenge_acks_per_second: float = 1000.0  # RFC 5961 7; Linux: tcp_challenge_ack_limit
    ephemeral_ports: tuple[int, int] = (32768, 60999)
    close_timeout: float = 2.0  # leaving `async with`: seconds for a graceful end before RST
