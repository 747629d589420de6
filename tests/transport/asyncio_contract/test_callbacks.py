"""When callbacks run, in which context, and what becomes of their exceptions."""

import asyncio
import contextvars

import pytest

from tests.transport.asyncio_contract.media import KERNEL, OURS, contract
from tests.transport.asyncio_contract.recorders import PausedReader, Recorder


def failing(method, error, base=Recorder):
    """A recorder whose `method` raises."""

    def fail(self, *arguments):
        getattr(base, method)(self, *arguments)
        raise error

    return type("Failing", (base,), {method: fail})


async def still_serves(net, port, accepted):
    """The server goes on with other connections."""
    other = await net.connect(port)
    other.transport.write(b"alive")
    await net.until(lambda: accepted and accepted[-1].data == b"alive")


@contract
@pytest.mark.parametrize("method", ["data_received", "eof_received"])
async def test_errors_while_receiving_abort_that_transport_alone(net, method):
    error = ValueError(method)
    factories = [failing(method, error), Recorder]
    _, port, accepted = await net.serve(lambda: factories.pop(0)())
    client = await net.connect(port)
    client.transport.write(b"x")
    client.transport.write_eof()
    await client.called("connection_lost")
    await accepted[0].called("connection_lost")
    assert accepted[0].lost is error
    assert accepted[0].callbacks.count("connection_lost") == 1
    assert net.take_errors() == [error]
    await still_serves(net, port, accepted)


@contract(media=OURS)
async def test_an_error_in_connection_made_aborts(net):
    # on the kernel's transports it is reported only, and a protocol that never came to be is fed with data
    error = ValueError("connection_made")
    factories = [failing("connection_made", error), Recorder]
    _, port, accepted = await net.serve(lambda: factories.pop(0)())
    client = await net.connect(port)
    client.transport.write(b"x")
    await client.called("connection_lost")
    assert net.take_errors() == [error]
    assert accepted[0].callbacks == ["connection_made", "connection_lost"]
    assert accepted[0].lost is error
    await still_serves(net, port, accepted)


@contract(media=OURS)
async def test_an_error_in_connection_made_of_a_client(net):
    """create_connection() succeeds, as it does on the kernel's transports, and the connection is lost."""
    error = ValueError("connection_made")
    _, port, _ = await net.serve()
    client = await net.connect(port, failing("connection_made", error))
    await client.called("connection_lost")
    assert net.take_errors() == [error]


@contract(media=KERNEL)
async def test_the_reference_only_reports_an_error_in_connection_made(net):
    error = ValueError("connection_made")
    _, port, accepted = await net.serve(failing("connection_made", error))
    client = await net.connect(port)
    client.transport.write(b"x")
    await net.until(lambda: accepted and len(accepted[0].callbacks) == 2)
    assert net.take_errors() == [error]
    assert accepted[0].callbacks == ["connection_made", "data_received"]


@contract
async def test_an_error_in_connection_lost_is_reported(net):
    error = ValueError("connection_lost")
    server, _, accepted = await net.serve(failing("connection_lost", error))
    client = await net.connect(server.sockets[0].getsockname()[1])
    client.transport.close()
    await client.called("connection_lost")
    await net.until(lambda: net.errors)
    assert net.take_errors() == [error]
    assert accepted[0].callbacks[-1] == "connection_lost"
    server.close()
    async with asyncio.timeout(5):
        await server.wait_closed()  # the connection counts as gone all the same


@contract
@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
async def test_errors_in_flow_control_are_reported_and_do_no_harm(net, method):
    """No data is in doubt, so the connection goes on, as on the kernel's transports."""
    error = ValueError(method)
    client, server = await net.pair(client=failing(method, error), server=PausedReader)
    client.transport.write(bytes(20_000_000))
    server.transport.resume_reading()
    await server.received(20_000_000)
    assert net.take_errors() == [error]
    client.transport.write(b"on")
    await server.received(20_000_002)
    assert "connection_lost" not in client.callbacks


@contract(media=OURS)
async def test_an_error_in_the_server_s_factory_ends_that_connection_alone(net):
    # asyncio reports it too, but leaves the connection to the garbage collector
    error = ValueError("factory")
    made = []

    def factory():
        made.append(1)
        if len(made) == 1:
            raise error
        return Recorder()

    _, port, accepted = await net.serve(factory)
    client = await net.connect(port)
    await client.called("connection_lost")
    assert net.take_errors() == [error]
    await still_serves(net, port, accepted)


@contract(media=OURS)
async def test_an_error_in_the_client_s_factory_is_raised(net):
    # by asyncio too, which leaves the connection to the garbage collector
    _, port, accepted = await net.serve()
    error = ValueError("factory")

    def fail():
        raise error

    with pytest.raises(ValueError, match="factory") as caught:
        await net.client.create_connection(fail, net.host, port)
    assert caught.value is error
    await net.quiet()
    for protocol in accepted:
        assert protocol.outline[-1] == "connection_lost"
    assert not net.client.connections()


@contract(media=OURS)
async def test_errors_of_the_connection_itself_are_not_reported_but_others_are(net):
    # asyncio keeps silent about every OSError, also one that has nothing to do with the connection
    for error, reported in [
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (FileNotFoundError("config"), True),
    ]:
        client, server = await net.pair(server=failing("data_received", error))
        client.transport.write(b"x")
        await server.called("connection_lost")
        assert server.lost is error
        assert net.take_errors() == ([error] if reported else [])


@contract
async def test_cancelled_error_from_a_callback_is_an_error_too(net):
    error = asyncio.CancelledError()
    client, server = await net.pair(server=failing("data_received", error))
    client.transport.write(b"x")
    await server.called("connection_lost")
    assert server.lost is error
    assert net.take_errors() == [error]
    client.transport.abort()


# order


@contract
async def test_connection_made_comes_by_call_soon_before_anything_else(net):
    class Greeting(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"hello")

    client, server = await net.pair(client=Greeting, server=Greeting)
    await client.received(5)
    await server.received(5)
    assert client.callbacks == server.callbacks == ["connection_made", "data_received"]


@contract
async def test_create_connection_returns_before_the_first_data_is_received(net):
    """So its caller can set things up, even if the server speaks first."""

    class Greeting(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"hello")
            transport.write_eof()

    _, port, _ = await net.serve(Greeting)
    for _ in range(3):
        client = await net.connect(port)
        assert client.callbacks == ["connection_made"]
        await client.called("connection_lost")
        assert client.data == b"hello"

    class Hesitating(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()
            transport.resume_reading()

    client = await net.connect(port, Hesitating)
    assert client.callbacks == ["connection_made"]
    await client.called("connection_lost")


@contract
async def test_no_callback_runs_inside_a_call_of_the_application(net):
    client, server = await net.pair()
    server.transport.pause_reading()
    client.transport.write(b"x")
    await net.quiet()
    for call in (
        server.transport.resume_reading,
        lambda: server.transport.write(b"y"),
        server.transport.write_eof,
        server.transport.close,
        server.transport.abort,
    ):
        before = list(server.callbacks)
        call()
        assert server.callbacks == before


# context and task

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


class Contextual(Recorder):
    """Notes the context variable and the task of every callback."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.maker = WHO.get()

    def note(self, name):
        if name != "pause_writing":  # which runs inside write()
            self.seen.append((name, WHO.get(), asyncio.current_task()))
        super().note(name)


@contract
async def test_callbacks_run_in_the_context_of_creation_and_in_no_task(net):
    WHO.set("the server")
    _, port, accepted = await net.serve(Contextual)
    WHO.set("the client")
    client = await net.connect(port, Contextual)
    WHO.set("somebody else")
    client.transport.write(b"x" * 10)
    await net.until(lambda: accepted)
    await accepted[0].received(10)
    accepted[0].transport.write(bytes(10_000_000))
    await client.received(10_000_000)
    await accepted[0].called("resume_writing", accepted[0].callbacks.count("pause_writing"))
    client.transport.write_eof()
    await client.called("connection_lost")
    await accepted[0].called("connection_lost")
    assert {(who, task) for _, who, task in client.seen} == {("the client", None)}
    # resume_writing has on the kernel's transports the context of whoever wrote
    seen = {(who, task) for name, who, task in accepted[0].seen if net.is_ours or name != "resume_writing"}
    assert seen == {("the server", None)}
    assert (client.maker, accepted[0].maker) == ("the client", "the server")


@contract
async def test_each_connection_of_a_server_has_a_context_of_its_own(net):
    class Setting(Contextual):
        def data_received(self, data):
            super().data_received(data)
            WHO.set(data.decode())

    WHO.set("the server")
    _, port, accepted = await net.serve(Setting)
    for name in ("first", "second"):
        client = await net.connect(port)
        client.transport.write(name.encode())
        await net.until(lambda name=name: accepted and accepted[-1].data == name.encode())
    assert [who for one in accepted for _, who, _ in one.seen] == ["the server"] * 4
    assert WHO.get() == "the server"


class Pausing(Recorder):
    """Notes the context variable of `pause_writing`."""

    who = None

    def pause_writing(self):
        self.who = WHO.get()
        super().pause_writing()


@contract(media=OURS)
async def test_pause_writing_has_the_context_of_creation(net):
    # as on uvloop's transports; on asyncio's that of whoever writes
    WHO.set("the connection")
    client, server = await net.pair(Pausing, Pausing)
    WHO.set("somebody else")
    client.transport.pause_reading()
    server.transport.write(bytes(10_000_000))
    assert server.who == "the connection"
    server.transport.pause_reading()
    client.transport.set_write_buffer_limits(high=1 << 30)
    client.transport.write(bytes(10_000_000))
    assert client.who is None
    client.transport.set_write_buffer_limits()
    assert client.who == "the connection"


@contract(media=OURS)
async def test_pause_writing_within_a_callback_has_the_context_of_creation(net):
    class Answering(Pausing):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(bytes(10_000_000))

    WHO.set("the connection")
    client, server = await net.pair(server=Answering)
    WHO.set("somebody else")
    client.transport.write(b"x")
    await server.called("pause_writing")
    assert server.who == "the connection"


@contract(media=OURS)
async def test_the_callbacks_of_a_connection_share_their_context(net):
    # on the kernel's transports each kind of callback has a copy, which pause_reading() changes
    class Setting(Contextual):
        def connection_made(self, transport):
            super().connection_made(transport)
            WHO.set("made")

    client, server = await net.pair(server=Setting)
    client.transport.write(b"x")
    await server.received(1)
    server.transport.pause_reading()
    server.transport.resume_reading()
    client.transport.close()
    await server.called("connection_lost")
    assert [who for _, who, _ in server.seen] == ["nobody", "made", "made", "made"]


@contract
async def test_a_task_made_in_a_callback_has_the_context_and_nothing_else(net):
    found = []

    class Spawning(Recorder):
        def data_received(self, data):
            super().data_received(data)

            async def work():
                found.append((WHO.get(), asyncio.current_task() is self.task))
                self.note("worked")

            self.task = asyncio.get_running_loop().create_task(work())

    WHO.set("the server")
    client, server = await net.pair(server=Spawning)
    client.transport.write(b"x")
    await server.called("worked")
    assert found == [("the server", True)]


@contract
async def test_callbacks_may_call_anything(net):
    """Inside data_received: write, pause, resume, write_eof, change the protocol, close."""

    class Busy(Recorder):
        keep_open = True

        def data_received(self, data):
            super().data_received(data)
            transport = self.transport
            transport.write(bytes(1_000_000))  # past the high mark: pause_writing within
            transport.set_write_buffer_limits(high=10)
            transport.pause_reading()
            transport.resume_reading()
            transport.set_protocol(self)
            transport.write_eof()
            transport.close()

    client, server = await net.pair(server=Busy)
    client.transport.write(b"go")
    await client.called("connection_lost")
    assert len(client.data) == 1_000_000
    assert client.lost is None
    await server.called("connection_lost")
    assert server.lost is None


@contract
async def test_reads_and_writes_in_debug_mode(net):
    net.loop.set_debug(True)
    try:
        client, server = await net.pair()
        client.transport.write(b"debug")
        assert await server.received(5) == b"debug"
        client.transport.close()
        await server.called("connection_lost")
    finally:
        net.loop.set_debug(False)
