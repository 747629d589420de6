"""A stack, and the other end of its wire in the hands of the test."""

from __future__ import annotations

from asyncstack import Stack, memory_pair
from asyncstack.testing.plugin import async_fixture
from asyncstack.wire import tcp
from asyncstack.wire.tcp import Segment
from tests.link.devices import Receiver, tcp_frame
from tests.transport.asyncio_contract.recorders import Recorder

PEER, OURS = "10.0.0.1", "10.0.0.2"
PEER6, OURS6 = "fd00::1", "fd00::2"


class Wire:
    """What the test sends arrives at the stack in the order it was sent; from `peer` to `ours` unless it says else."""

    def __init__(self, stack, device):
        self.peer, self.ours = PEER, OURS
        self.stack = stack
        self.device = device
        self.receiver = Receiver(device)
        self.accepted = []

    def accept(self):
        """The protocol factory of a server."""
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def send(self, ports, flags, seq=1000, ack=0, src=None, payload=b"", dst=None, **options):
        """A segment from `src` to `dst`; `ports` are the peer's and ours."""
        segment = Segment(*ports, seq, ack, flags, options.pop("window", 65535), payload, **options)
        if not self.device.send(tcp_frame(src or self.peer, dst or self.ours, segment)):
            raise BufferError("the wire is full")

    def answers(self):
        """What the stack sent since the last look."""
        return [segment for _, _, segment in self.packets()]

    def packets(self):
        """(source, destination, segment) of what the stack sent since the last look."""
        frames = self.receiver.frames
        self.receiver.batches.clear()
        found = []
        for frame in frames:
            data = frame.data
            at, addresses, size = (20, 12, 4) if data[0] >> 4 == 4 else (40, 8, 16)
            middle = addresses + size
            ends = bytes(data[addresses:middle]), bytes(data[middle : middle + size])
            found.append((*ends, tcp.parse(data[at:])))
        return found


@async_fixture
async def wire(request):
    config = getattr(request, "param", None)
    async with Stack(config) as stack:
        device, ours = memory_pair(offload=True)
        addresses = [f"{OURS}/16", "10.1.0.2/16", f"{OURS6}/64"]
        stack.attach(ours, addresses, gateway=["10.0.0.1", "fd00::1"])
        yield Wire(stack, device)
        await device.close()
