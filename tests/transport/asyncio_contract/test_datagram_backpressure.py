"""Datagram endpoints on a device without room."""

from asyncstack import Stack, memory_pair
from tests.transport.asyncio_contract.media import OURS, contract
from tests.transport.asyncio_contract.recorders import Datagrams


class Full:
    """Two stacks on a memory link whose inbox is tiny, with nobody emptying it before the next loop turn."""

    async def __aenter__(self):
        self.sender, self.receiver = Stack(), Stack()
        near, far = memory_pair(inbox_frames=4)
        self.sender.attach(near, ["10.1.0.1/24"])
        self.receiver.attach(far, ["10.1.0.2/24"])
        _, self.sink = await self.receiver.create_datagram_endpoint(Datagrams, ("10.1.0.2", 9))
        return self

    async def __aexit__(self, *_):
        await self.sender.close()
        await self.receiver.close()

    async def source(self, factory=Datagrams):
        _, protocol = await self.sender.create_datagram_endpoint(factory, remote_addr=("10.1.0.2", 9))
        return protocol


@contract(media=OURS)
async def test_backpressure_of_a_full_device(net):
    async with Full() as full:
        source = await full.source()
        for number in range(200):
            source.transport.sendto(number.to_bytes(2, "big") * 500)
        assert source.callbacks == ["connection_made", "pause_writing"]
        assert source.transport.get_write_buffer_size() == 196 * 1000
        received = await full.sink.received(200)
        assert [int.from_bytes(data[:2], "big") for data in received] == list(range(200))
        assert source.callbacks == ["connection_made", "pause_writing", "resume_writing"]
        assert source.transport.get_write_buffer_size() == 0


@contract(media=OURS)
async def test_the_queue_is_bounded(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(1000):
            source.transport.sendto(bytes(1000))
        limit = full.sender.config.udp_queue
        assert limit - 1000 <= source.transport.get_write_buffer_size() <= limit
        assert full.sender.counters["udp.send_queue_full"] == 1000 - 4 - limit // 1000
        await full.sink.received(limit // 1000)


@contract(media=OURS)
async def test_close_sends_what_waits(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(100):
            source.transport.sendto(bytes(100))
        source.transport.close()
        source.transport.sendto(b"late")
        assert source.callbacks == ["connection_made"]
        await source.called("connection_lost")
        await full.sink.received(100)
        await net.quiet()
        assert len(full.sink.datagrams) == 100


@contract(media=OURS)
async def test_abort_drops_what_waits(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(100):
            source.transport.sendto(bytes(100))
        source.transport.abort()
        await source.called("connection_lost")
        await net.quiet()
        assert len(full.sink.datagrams) == 4


@contract(media=OURS)
async def test_pause_writing_inside_a_callback(net):
    """sendto() from datagram_received() until the device is full."""

    class Flooding(Datagrams):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            for _ in range(100):
                self.transport.sendto(bytes(1000), addr)

    async with Full() as full:
        source = await full.source(Flooding)
        full.sink.transport.sendto(b"go", source.transport.get_extra_info("sockname"))
        await full.sink.received(100)
        assert "pause_writing" in source.callbacks
        assert source.callbacks[-1] == "resume_writing"


@contract(media=OURS)
async def test_an_error_in_pause_writing_is_reported_and_no_more(net):
    error = ValueError("pause_writing")

    class Failing(Datagrams):
        def pause_writing(self):
            raise error

    async with Full() as full:
        source = await full.source(Failing)
        for _ in range(100):
            source.transport.sendto(bytes(1000))
        assert net.take_errors() == [error]
        await full.sink.received(100)


@contract(media=OURS)
async def test_lower_limits_pause_at_once(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(20):
            source.transport.sendto(bytes(1000))
        assert source.callbacks == ["connection_made"]
        source.transport.set_write_buffer_limits(high=1000)
        assert source.callbacks == ["connection_made", "pause_writing"]
        await full.sink.received(20)
        assert source.callbacks[-1] == "resume_writing"
