"""What a script plays on: a stack on a device of ours, the connection that is talked about, and its calls.

As in packetdrill there is one flow at a time: the newest `socket()` is what lines are about, and a packet that arrives
while it listens begins the connection they are about from then on. Packets of other flows are not looked at.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final

from asyncstack.stack import Stack
from asyncstack.testing.packetdrill.calls import SystemCalls, World
from asyncstack.testing.packetdrill.compare import describe_seen
from asyncstack.testing.packetdrill.constants import constant, number
from asyncstack.testing.packetdrill.device import ScriptDevice, continues, glue
from asyncstack.testing.packetdrill.flow import Flow
from asyncstack.testing.packetdrill.info import tcpi
from asyncstack.testing.packetdrill.packets import TCP, UDP, Seen, Tuple4
from asyncstack.testing.packetdrill.script import (
    DOTS,
    CallLine,
    PacketLine,
    ScriptError,
    Struct,
    TcpLine,
    UdpLine,
    UnsupportedError,
)
from asyncstack.testing.packetdrill.settings import Settings
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.transport.tcp.info import TcpInfo

_SEED: Final = "packetdrill"
_FIRST_PORT: Final = 50001  # of the peers that connect to us

Options = dict[str, str]


@dataclass(slots=True)
class Addresses:
    """Both ends by IP version, as packetdrill has them unless a script says otherwise."""

    local: str
    remote: str
    gateway: str
    prefix: int


_ADDRESSES: Final = {
    "ipv4": Addresses("192.168.0.1", "192.0.2.1", "192.168.0.2", 16),
    "ipv6": Addresses("fd3d:a0b:17d6::1", "fd3d:fa7b:d17d::1", "fd3d:a0b:17d6::2", 48),
}


class Stage:
    """Made inside the loop that the script runs on. `close` ends it."""

    def __init__(self, settings: Settings, options: Options) -> None:
        version = options.get("ip_version", "ipv4").replace("_", "-")
        if version not in ("ipv4", "ipv6", "ipv4-mapped-ipv6"):
            raise ScriptError(f"--ip_version={version}")
        known = _ADDRESSES["ipv6" if version == "ipv6" else "ipv4"]
        local = options.get("local_ip", known.local)
        remote = options.get("remote_ip", known.remote)
        loop = asyncio.get_running_loop()
        self.device = ScriptDevice(loop, int(options.get("mtu", "1500")))
        self.stack = Stack(settings.config, name="script", seed=_SEED)
        gateway = known.gateway if local != known.gateway else known.local
        self.stack.attach(
            self.device, [f"{local}/{known.prefix}"], options.get("gateway_ip", gateway), name="tun0"
        )
        mapped = version == "ipv4-mapped-ipv6"
        self._local = ipaddress.ip_address(local).packed
        self._remote = ipaddress.ip_address(remote).packed
        world = World(
            f"::ffff:{local}" if mapped else local,
            f"::ffff:{remote}" if mapped else remote,
            socket.AF_INET if version == "ipv4" else socket.AF_INET6,
            int(options.get("bind_port", "8080")),
            int(options.get("connect_port", "8080")),
            mapped,
        )
        self.world = world
        self.calls = SystemCalls(self.stack, settings, world, self._begin)
        self.flow: Flow | None = None
        self._awaiting = True  # the next packet of the peer begins a flow: a socket listens, or there is none
        self._protocol = TCP
        self._bound = 0
        self._next_port = _FIRST_PORT

    async def close(self) -> None:
        """End the stack, whatever its connections still want."""
        self.device.sent.clear()
        await self.stack.close()

    # which flow

    def _begin(self, name: str, file: Any, line: CallLine) -> None:
        """A system call is about to run; some begin a flow."""
        if name == "socket":
            self.flow, self._awaiting, self._bound = None, False, 0
            kind = number(line.arguments[1]) & 0xF
            self._protocol = UDP if kind == socket.SOCK_DGRAM else TCP
        elif name == "bind":
            self._bound = self.calls.address(line.arguments[1], "", self.world.local_port)[1]
            self._awaiting = self._protocol == UDP
        elif name == "listen":
            self._awaiting = True
        elif name == "connect":
            self._connect(line.arguments[1])
        elif name in ("sendto", "sendmsg") and self.flow is None:
            target = DOTS if name == "sendmsg" or len(line.arguments) < 5 else line.arguments[4]
            if self._protocol == UDP or number(line.arguments[-1 if name == "sendmsg" else 3]) & constant(
                "MSG_FASTOPEN"
            ):
                self._connect(target)

    def _connect(self, target: Any) -> None:
        host, port = self.world.remote, self.world.remote_port
        if isinstance(target, Struct):
            host, port = self.calls.address(target, host, port)
        remote = ipaddress.ip_address(host)
        mapped = getattr(remote, "ipv4_mapped", None)
        packed = mapped.packed if mapped else remote.packed
        self.flow = Flow(Tuple4(self._local, self._bound, packed, port), self._protocol)
        self._awaiting = False

    def _flow_of(self, line: PacketLine) -> Flow:
        body = line.body
        if not line.outbound and self._awaiting and isinstance(body, TcpLine | UdpLine):
            port = self._bound or self.world.local_port
            ends = Tuple4(self._local, port, self._remote, self._next_port)
            self._next_port += 1
            tcp = isinstance(body, TcpLine)
            self.flow = Flow(ends, TCP if tcp else UDP, body.seq if isinstance(body, TcpLine) else 0)
            self._awaiting = False
        if self.flow is None:
            raise ScriptError("no connection that this packet could belong to")
        return self.flow

    # packets

    def inject(self, line: PacketLine) -> None:
        """Have the stack receive the packet of `line`."""
        self.device.inject(self._flow_of(line).packet(line))

    async def expect(self, line: PacketLine, until: float, tolerance: float) -> Seen | None:
        """The next packet of the flow that `line` is about, in the numbers of the script; None if there is none by the
        loop time `until`. Pieces of a super-segment, `tolerance` seconds long, are joined up to the line's length."""
        flow = self._flow_of(line)
        seen = await self._next(flow, until)
        if seen is None:
            return None
        wanted = line.body.length if isinstance(line.body, TcpLine) else 0
        while seen.length < wanted:
            piece = await self._next(flow, until)
            if piece is None:
                break
            if not continues(seen, piece, tolerance) or seen.length + piece.length > wanted:
                self.device.sent.appendleft(piece)
                break
            glue(seen, piece)
        info = self.info()
        seen.full = seen.full or (info is not None and seen.length >= info.snd_mss)
        flow.map_seen(seen, line)
        if line.ip.flow_label is not None and flow.flow_label_differs(line.ip.flow_label, seen):
            seen.faults.append("flowlabel")
        return seen

    async def _next(self, flow: Flow, until: float) -> Seen | None:
        loop = asyncio.get_running_loop()
        while True:
            while self.device.sent:
                seen = self.device.sent.popleft()
                if flow.owns(seen):
                    return seen
            if loop.time() >= until:
                return None
            await self.device.wait(until)

    def left(self, most: int = 8) -> list[str]:
        """What was sent and not asked for, in the script's numbers, as lines."""
        lines = []
        for seen in [seen for seen in self.device.sent if self.flow is not None and self.flow.owns(seen)][
            :most
        ]:
            assert self.flow is not None
            self.flow.to_script(seen)
            lines.append(f"{seen.time:.6f}  > {describe_seen(seen)}")
        return lines

    # the connection

    def info(self) -> TcpInfo | None:
        """The numbers of the connection that is talked about, of one that is over the last ones."""
        now = asyncio.get_running_loop().time()
        if self.flow is not None:
            ends = self.flow.ends
            endpoint = self.stack.tcp.connections.get((ends.src, ends.src_port, ends.dst, ends.dst_port))
            if endpoint is not None:
                return endpoint.connection.info(now)
        file = self.calls.files.get(self.calls.last)
        endpoint = getattr(file, "endpoint", None)
        return endpoint.connection.info(now) if isinstance(endpoint, TcpEndpoint) else None

    def code_values(self) -> dict[str, Any]:
        """The variables of a snippet of code."""
        info = self.info()
        if info is None:
            raise UnsupportedError("code without a connection")
        return tcpi(info)

    def state(self) -> str:
        """The connection in one line, for reports."""
        info = self.info()
        if info is None:
            return "no connection"
        return (
            f"{info.state.name} {info.ca_state}: cwnd {info.snd_cwnd} ssthresh {info.snd_ssthresh} "
            f"unacked {info.unacked} sacked {info.sacked} lost {info.lost} retrans {info.retrans} mss {info.snd_mss} "
            f"snd_wnd {info.snd_wnd} rcv_wnd {info.rcv_wnd} notsent {info.notsent_bytes} rto {info.rto:.3f} "
            f"srtt {info.rtt:.4f}"
        )
