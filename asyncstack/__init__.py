"""asyncstack: a TCP/IP stack that runs on your asyncio event loop.

It gives async servers and clients IP addresses of their own: on a TUN or TAP device, on a simulated network
inside a test, or on both at once. The same TCP runs on a wire, in memory and in virtual time, and its
connections are `asyncio.Transport`s.

How it works
============

The folders are the layers, and an import never points upward::

    wire  <-  link  <-  network  <-  transport  <-  application
    headers   devices    IP, ICMP     TCP, UDP       HTTP, DNS, DHCP

`stack.py` puts one of each together, `interfaces.py` what comes and goes with an interface. `loop/` has event loops
that send asyncio's calls to a stack or to the kernel, by address; `autoconf/` the ways in which interfaces configure
themselves; `workers/` several processes on one interface; `testing/` virtual time and simulated networks; `cli/` the
commands.

Receiving. A device's fd is on the loop's reader. Its callback reads a bounded batch and sends it straight into
the interface's receive coroutine, which awaits the layers one inside the other, frame by frame, down to
`data_received` of the application, and comes back for the next batch. That `await device.receive()` is the only
place where it suspends: no queues, no tasks between the layers, one loop turn per batch. What a layer has to
answer while it receives (ARP, echo, RST) it sends at once or not at all; nothing waits.

Sending is pull. Whoever has something to send (a write, a timer, a segment that came in) puts the connection on
the interface's ready queue; `Interface.flush` lets one connection after the other build what may leave now. It
runs at the end of each batch received, so one ACK with the answer's data on it serves many segments, and by
`call_soon` for what becomes ready elsewhere. A segment is built only when it can leave: until then it is a
few numbers, and a window, an ACK or a lost neighbour may still change it.

Machines and shells. Protocol logic does no I/O and reads no clock: `now` goes in; segments, events and a
`deadline` come out. Machines have inputs `receive_*` and `timer_expired`, commands that are verbs, outputs
`*_to_send`, `events` and `deadline`. Shells (devices, layers, transports, servers) put them on the loop.

TCP has a file for each algorithm (`transport/tcp/`). A `Connection` is a `Sender` and a `Receiver` that do not know
it; `handshake`, `arrival` and `timeouts` move it from state to state. The sender asks its scoreboard what is missing
(`rack`, `tail_loss`, `spurious` judge that, `recovery` acts) and its congestion controller how much may be out: a
controller hears of each ACK and owns the window, and can be exchanged at work. An ACK while nothing is amiss takes a
short way past all that; one flag says whether it may (`Sender.alert`).

Other people's programs. A library calls its event loop, and `loop/routing` asks which stack an address belongs to; what
belongs to none goes to the loop below, unchanged. Sockets that a library has made itself are adopted where the loop
meets them: the object stays, a socket of the stack takes its place behind it.

Addresses that come by themselves. A word among the addresses of an interface starts a source (`sources.py`): DHCP,
router advertisements, a link-local choice. An address is in the table of ours only once it may be used; while it is
being checked, only the machine that checks knows it. Who lends an address takes it back; its connections end with it.

Super-segments. TCP builds segments of up to 64 KiB, with only the pseudo-header's part of the checksum. A TUN
with virtio-net offload takes and gives them whole; for every other device `link/segmentation.py` cuts them.
TCP has one code path.

Time. A connection moves its deadline by storing a float. On a virtual-time loop everything,
the stack, the links and `asyncio.sleep`, jumps to the next deadline together.

Where it differs from the first design
======================================

- The transmit side is no coroutine: `flush` never waits for anything, so a callback on the ready queue does the
  same with less.
- A connection has one lazy deadline, the earliest of its timers, not a timer of each kind; the deadlines of all share
  one `call_later` handle (`timing.TimerQueue`). An idle connection has none.
- Probing the path MTU has no timer of its own: it looks when data flows, as it needs data to probe with.
- The queue of a worker that died is not detached: the kernel then spreads the flows of the other queues anew (40 of 51
  moved when tried), and their connections would end too. It waits for the worker's replacement.
- A payload is one buffer: a slice of what the application wrote, or joined where a segment spans several writes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from asyncstack.version import __version__

if TYPE_CHECKING:
    from asyncstack.config import DnsConfig, StackConfig, TcpConfig
    from asyncstack.connection_events import (
        CongestionWindowChanged,
        ConnectionClosed,
        ConnectionEstablished,
        ConnectionEvent,
        ConnectionOpened,
        RecoveryStarted,
        RetransmissionTimeout,
        SegmentRetransmitted,
    )
    from asyncstack.events import (
        AddressAdded,
        AddressConflict,
        AddressRemoved,
        InterfaceDown,
        InterfaceUp,
        LinkDown,
        LinkUp,
        SourceFailed,
    )
    from asyncstack.link.capture import Capture
    from asyncstack.link.device import Device
    from asyncstack.link.interface import Interface
    from asyncstack.link.loopback import LoopbackDevice
    from asyncstack.link.memory import MemoryDevice, memory_pair
    from asyncstack.link.tap import TapDevice
    from asyncstack.link.tun import TunDevice
    from asyncstack.loop.loops import EventLoop, SelectorEventLoop
    from asyncstack.loop.running import run
    from asyncstack.loop.tables import SettingsError
    from asyncstack.names import ANY_PORT
    from asyncstack.stack import Stack
    from asyncstack.testing.network import Network
    from asyncstack.transport.ping import PingReply, UnreachableError
    from asyncstack.transport.sockets.datagrams import DatagramSocket
    from asyncstack.transport.sockets.stream import StreamSocket
    from asyncstack.transport.tcp.info import TcpInfo
    from asyncstack.transport.tcp.server import Server
    from asyncstack.transport.traceroute import Hop, ProbeReply
    from asyncstack.watching import EventStream

# Where each public name lives. They are imported on first use, so that `import asyncstack` costs little.
_HOMES = {
    "AddressAdded": "asyncstack.events",
    "AddressConflict": "asyncstack.events",
    "AddressRemoved": "asyncstack.events",
    "ANY_PORT": "asyncstack.names",
    "Capture": "asyncstack.link.capture",
    "CongestionWindowChanged": "asyncstack.connection_events",
    "ConnectionClosed": "asyncstack.connection_events",
    "ConnectionEstablished": "asyncstack.connection_events",
    "ConnectionEvent": "asyncstack.connection_events",
    "ConnectionOpened": "asyncstack.connection_events",
    "DatagramSocket": "asyncstack.transport.sockets.datagrams",
    "DnsConfig": "asyncstack.config",
    "Device": "asyncstack.link.device",
    "EventLoop": "asyncstack.loop.loops",
    "EventStream": "asyncstack.watching",
    "Hop": "asyncstack.transport.traceroute",
    "Interface": "asyncstack.link.interface",
    "InterfaceDown": "asyncstack.events",
    "InterfaceUp": "asyncstack.events",
    "LinkDown": "asyncstack.events",
    "LinkUp": "asyncstack.events",
    "LoopbackDevice": "asyncstack.link.loopback",
    "MemoryDevice": "asyncstack.link.memory",
    "Network": "asyncstack.testing.network",
    "PingReply": "asyncstack.transport.ping",
    "ProbeReply": "asyncstack.transport.traceroute",
    "RecoveryStarted": "asyncstack.connection_events",
    "RetransmissionTimeout": "asyncstack.connection_events",
    "SegmentRetransmitted": "asyncstack.connection_events",
    "SelectorEventLoop": "asyncstack.loop.loops",
    "Server": "asyncstack.transport.tcp.server",
    "SettingsError": "asyncstack.loop.tables",
    "SourceFailed": "asyncstack.events",
    "Stack": "asyncstack.stack",
    "StackConfig": "asyncstack.config",
    "StreamSocket": "asyncstack.transport.sockets.stream",
    "TapDevice": "asyncstack.link.tap",
    "TcpConfig": "asyncstack.config",
    "TcpInfo": "asyncstack.transport.tcp.info",
    "TunDevice": "asyncstack.link.tun",
    "UnreachableError": "asyncstack.transport.ping",
    "memory_pair": "asyncstack.link.memory",
    "run": "asyncstack.loop.running",
}

__all__ = [
    "ANY_PORT",
    "AddressAdded",
    "AddressConflict",
    "AddressRemoved",
    "Capture",
    "CongestionWindowChanged",
    "ConnectionClosed",
    "ConnectionEstablished",
    "ConnectionEvent",
    "ConnectionOpened",
    "DatagramSocket",
    "Device",
    "DnsConfig",
    "EventLoop",
    "EventStream",
    "Hop",
    "Interface",
    "InterfaceDown",
    "InterfaceUp",
    "LinkDown",
    "LinkUp",
    "LoopbackDevice",
    "MemoryDevice",
    "Network",
    "PingReply",
    "ProbeReply",
    "RecoveryStarted",
    "RetransmissionTimeout",
    "SegmentRetransmitted",
    "SelectorEventLoop",
    "Server",
    "SettingsError",
    "SourceFailed",
    "Stack",
    "StackConfig",
    "StreamSocket",
    "TapDevice",
    "TcpConfig",
    "TcpInfo",
    "TunDevice",
    "UnreachableError",
    "__version__",
    "memory_pair",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'asyncstack' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
