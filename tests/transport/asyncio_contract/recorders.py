"""Protocols that write down what is done to them."""

import asyncio
import socket
import struct

PATIENCE = 5.0  # seconds until a test gives up


def reset(transport):
    """End it with RST, as SO_LINGER of no time has it."""
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


class Recorder(asyncio.Protocol):
    """Knows every callback in order, and lets a test wait for one."""

    keep_open = False  # what eof_received() gives

    def __init__(self):
        self.transport = None
        self.callbacks = []
        self.data = bytearray()
        self.lost = None  # the exception of connection_lost, if any
        self._changed = asyncio.Event()

    def note(self, name):
        self.callbacks.append(name)
        self._changed.set()

    async def until(self, condition):
        """Wait until `condition()`."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"still waiting: {self.outline} {len(self.data)} bytes") from None

    async def called(self, name, times=1):
        """Wait until the callback `name` has come `times` times."""
        await self.until(lambda: self.callbacks.count(name) >= times)

    async def received(self, size):
        """Wait for `size` bytes in all; returns what there is."""
        await self.until(lambda: len(self.data) >= size)
        return bytes(self.data)

    @property
    def outline(self):
        """The callbacks in order, without repetitions of one, and without flow control."""
        found = []
        for name in self.callbacks:
            if found[-1:] != [name] and not name.endswith("_writing"):
                found.append(name)
        return found

    def connection_made(self, transport):
        self.transport = transport
        self.note("connection_made")

    def data_received(self, data):
        assert type(data) is bytes
        assert data
        self.data += data
        self.note("data_received")

    def eof_received(self):
        self.note("eof_received")
        return self.keep_open

    def connection_lost(self, exc):
        self.lost = exc
        self.note("connection_lost")

    def pause_writing(self):
        self.note("pause_writing")

    def resume_writing(self):
        self.note("resume_writing")


class HalfOpen(Recorder):
    """Goes on sending after the peer's end."""

    keep_open = True


class PausedReader(Recorder):
    """Reads nothing before the test says so."""

    def connection_made(self, transport):
        transport.pause_reading()
        super().connection_made(transport)


class Echo(Recorder):
    """Sends back what it gets."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


class Buffered(Recorder, asyncio.BufferedProtocol):
    """Lends buffers of `size` bytes."""

    size = 1 << 16
    data_received = None

    def get_buffer(self, sizehint):
        self.lent = bytearray(self.size)
        return self.lent

    def buffer_updated(self, nbytes):
        assert 0 < nbytes <= self.size
        self.data += self.lent[:nbytes]
        self.note("buffer_updated")


class Datagrams(asyncio.DatagramProtocol):
    """Keeps datagrams and errors."""

    def __init__(self):
        self.transport = None
        self.callbacks = []
        self.datagrams = []  # (data, addr)
        self.errors = []
        self.lost = None
        self._changed = asyncio.Event()

    note = Recorder.note
    until = Recorder.until
    outline = Recorder.outline
    called = Recorder.called

    @property
    def data(self):
        return b"".join(data for data, _ in self.datagrams)

    async def received(self, count):
        """Wait for `count` datagrams in all; returns their payloads."""
        await self.until(lambda: len(self.datagrams) >= count)
        return [data for data, _ in self.datagrams]

    def connection_made(self, transport):
        self.transport = transport
        self.note("connection_made")

    def datagram_received(self, data, addr):
        self.datagrams.append((data, addr))
        self.note("datagram_received")

    def error_received(self, exc):
        self.errors.append(exc)
        self.note("error_received")

    def connection_lost(self, exc):
        self.lost = exc
        self.note("connection_lost")

    def pause_writing(self):
        self.note("pause_writing")

    def resume_writing(self):
        self.note("resume_writing")
