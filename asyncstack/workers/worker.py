"""A worker's own part: the device for its stack, and what ties the stack to the other workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from asyncstack.config import StackConfig
from asyncstack.errors import WireError
from asyncstack.link.frame import Frame
from asyncstack.stack import Stack
from asyncstack.transport.tcp.endpoint import PROTOCOL_TCP
from asyncstack.wire import ethernet, udp
from asyncstack.wire.packet import Packet
from asyncstack.workers.device import QueueDevice, TapQueue, TunQueue
from asyncstack.workers.flows import Flows, end_flows
from asyncstack.workers.handover import Handover
from asyncstack.workers.seat import Seat
from asyncstack.workers.steering import EVERYBODY, OWNER, Steering


class Worker:
    """The worker on `seat`, which serves TCP `port` as all of them do.

    A stack with `config` gets `device`; then `join` it at once, call `listening` when it listens, and `leave` last.
    """

    def __init__(self, seat: Seat, port: int, *, offload: bool) -> None:
        self._seat = seat
        self._steering = Steering(
            seat.index, seat.count, ethernet=bool(seat.address), shared=frozenset((port,))
        )
        self.config = StackConfig(ephemeral_ports=self._steering.ephemeral_ports())
        handover = Handover(_socket(seat.inbox), [_socket(fd) for fd in seat.outboxes])
        options = {"mtu": seat.mtu, "offload": offload}
        self.device: QueueDevice
        if seat.address:
            self.device = TapQueue(
                seat.queue, self._steering, handover, seat.count, address=seat.address, **options
            )
        else:
            self.device = TunQueue(seat.queue, self._steering, handover, seat.count, **options)
        self._flows = Flows(seat.flows)
        self._control = _socket(seat.control)
        self._stack: Stack
        self._ending: asyncio.Task[None] | None = None

    def join(self, stack: Stack) -> None:
        """`stack` has just been given the device: from now on it is one of the workers' stacks."""
        self._stack = stack
        stack.tcp.register = self._flows
        stack.loop.add_reader(self._control, self._supervisor_is_gone)
        self.device.knows = self._knows
        if self._seat.index == OWNER:
            stack.ipv4.on_reassembled = stack.ipv6.on_reassembled = self._reassembled
        if self._flows.left:
            self._ending = stack.loop.create_task(end_flows(stack, self._flows.left))

    def listening(self) -> None:
        """The stack listens: take the connections, and tell the supervisor."""
        self.device.release()
        self._control.send(b"\n")

    def leave(self) -> None:
        """The stack is closed."""
        if self._ending is not None:
            self._ending.cancel()
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._flows.close()

    def _supervisor_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        os.kill(os.getpid(), signal.SIGTERM)

    # fragments

    def _reassembled(self, packet: Packet) -> bool:
        """Pass on what was put together here for another worker's flow. Whether it was."""
        ports = packet.payload[:4]
        if packet.protocol not in (PROTOCOL_TCP, udp.PROTOCOL) or len(ports) < 4:
            return False
        where = self._steering.of_port(int.from_bytes(ports[2:], "big"))
        if where != OWNER:
            self.device.pass_on(self._frame(packet), where)
            return True
        if packet.protocol == PROTOCOL_TCP and _key(packet) not in self._stack.tcp.connections:
            self.device.pass_on(self._frame(packet), EVERYBODY, offer=True)
            return True
        return False

    def _frame(self, packet: Packet) -> Frame:
        if not self._seat.address:
            return Frame(packet.raw)
        kind = ethernet.ETHERTYPE_IPV4 if len(packet.src) == 4 else ethernet.ETHERTYPE_IPV6
        return Frame(memoryview(ethernet.build(self.device.address, bytes(6), kind) + packet.raw))

    def _knows(self, frame: Frame) -> bool:
        """Whether a TCP segment is of a connection here."""
        data = frame.data[ethernet.HEADER_SIZE :] if self._seat.address else frame.data
        stack = self._stack
        try:
            packet = (stack.ipv4 if data[0] >> 4 == 4 else stack.ipv6).parse(data)
        except (WireError, IndexError):
            return False
        return _key(packet) in stack.tcp.connections


def _key(packet: Packet) -> tuple[bytes, int, bytes, int]:
    head = packet.payload
    return (
        packet.dst,
        int.from_bytes(head[2:4], "big"),
        packet.src,
        int.from_bytes(head[:2], "big"),
    )


def _socket(fd: int) -> socket.socket:
    made = socket.socket(fileno=fd)
    made.setblocking(False)
    return made
