"""The media that every test of the contract runs on.

    kernel    asyncio's own transports over the loopback interface: the reference
    memory    two stacks joined by a memory link, on asyncio's selector loop, in real time
    uvloop    the same on uvloop
    routed    the same, by asyncio's own calls on `asyncstack.EventLoop`, which is uvloop's with routing
    virtual   two hosts of a simulated network with a delay, in virtual time

A test is written once, against asyncio's calls; `contract` runs it on every medium and then looks at what it left
behind: exceptions nobody expected, tasks, timers, file descriptors.
"""

import asyncio
import functools
import inspect
import os
import socket
import traceback
from contextlib import asynccontextmanager

import pytest
import uvloop

from asyncstack import EventLoop, Network, Stack, memory_pair
from asyncstack.testing import VirtualTimeLoop
from tests.transport.asyncio_contract.recorders import PATIENCE, Recorder

ALL = ("kernel", "memory", "uvloop", "virtual", "routed")
OURS = ALL[1:4]
DIRECT = ALL[
    :4
]  # without the routing: an address of nobody is the kernel's there, and its loop's error uvloop's
KERNEL = ALL[:1]

# Names of the simulated hosts table; the kernel's loop knows them too, so that no test asks a DNS server.
KERNEL_NAMES = {"server": ["127.0.0.1"], "two-addresses": ["127.0.0.3", "127.0.0.1"]}
STACK_NAMES = {"server": ["10.0.0.2"], "two-addresses": ["10.0.0.3", "10.0.0.2"]}


class KernelLoop(asyncio.SelectorEventLoop):
    """The plain selector loop, with a hosts table in the place of the resolver."""

    async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
        if host is None or host == "localhost" or host[:1].isdigit() or ":" in host:
            return socket.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        if host not in KERNEL_NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, type, proto, "", (address, port)) for address in KERNEL_NAMES[host]]


class KernelHost:
    """asyncio's calls under the names that a stack gives them."""

    def __init__(self, loop):
        self.create_connection = loop.create_connection
        self.create_server = loop.create_server
        self.create_datagram_endpoint = loop.create_datagram_endpoint
        self.open_connection = asyncio.open_connection
        self.start_server = asyncio.start_server


class RoutedHost:
    """asyncio's calls, made from one of several stacks on a loop; what asyncio has not is asked of the stack."""

    def __init__(self, loop, stack):
        self.stack = stack
        for home, names in (
            (loop, ("create_connection", "create_server", "create_datagram_endpoint")),
            (asyncio, ("open_connection", "start_server")),
        ):
            for name in names:
                setattr(self, name, functools.partial(self._call, getattr(home, name)))

    async def _call(self, function, *arguments, **keywords):
        with self.stack.current():
            return await function(*arguments, **keywords)

    def __getattr__(self, name):
        return getattr(self.stack, name)


class Net:
    """A client host and a server host that can reach each other; what a test of the contract gets."""

    def __init__(self, medium, loop, client, server, host, client_host):
        self.medium = medium
        self.loop = loop
        self.client = client
        self.server = server
        self.host = host  # the address of the server
        self.client_host = client_host
        self.errors = []  # what the loop's exception handler was told
        self._servers = []
        self._recorders = []
        self._handlers = []
        loop.set_exception_handler(lambda loop, context: self.errors.append(context))

    @property
    def is_ours(self):
        return self.medium != "kernel"

    def take_errors(self):
        """The exceptions reported so far, which the test expects."""
        found, self.errors = self.errors, []
        return [context.get("exception") for context in found]

    def recorder(self, factory=Recorder):
        made = factory()
        self._recorders.append(made)
        return made

    async def serve(self, factory=Recorder, **arguments):
        """(server, port, accepted): `accepted` is the list of the protocols made so far."""
        accepted = []

        def make():
            accepted.append(self.recorder(factory))
            return accepted[-1]

        server = await self.server.create_server(make, self.host, 0, **arguments)
        self._servers.append(server)
        return server, server.sockets[0].getsockname()[1], accepted

    async def connect(self, port, factory=Recorder, **arguments):
        """The client's protocol, connected to `port` of the server."""
        made = self.recorder(factory)
        await self.client.create_connection(lambda: made, self.host, port, **arguments)
        return made

    async def pair(self, client=Recorder, server=Recorder, **arguments):
        """(client, server): two protocols, connected."""
        _, port, accepted = await self.serve(server)
        near = await self.connect(port, client, **arguments)
        await self.until(lambda: accepted and accepted[0].callbacks)
        return near, accepted[0]

    async def until(self, condition):
        """Wait until `condition()`."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.0005)

    async def start_server(self, handler, **arguments):
        """The port of a streams server that runs `handler(reader, writer)`."""

        async def run(reader, writer):
            self._handlers.append(asyncio.current_task())
            await handler(reader, writer)

        run = run if inspect.iscoroutinefunction(handler) else handler
        server = await self.server.start_server(run, self.host, 0, **arguments)
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def open_connection(self, port, **arguments):
        return await self.client.open_connection(self.host, port, **arguments)

    async def quiet(self):
        """Let everything that is on its way arrive. In memory that takes turns of the loop, not time."""
        if self.medium == "virtual":
            await asyncio.sleep(1.0)
            return
        for _ in range(3):
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.003)

    async def close(self):
        for server in self._servers:
            server.close()
        for recorder in self._recorders:
            if recorder.transport is not None and "connection_lost" not in recorder.callbacks:
                recorder.transport.abort()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=PATIENCE)
        await asyncio.sleep(0)


@asynccontextmanager
async def _kernel(loop):
    host = KernelHost(loop)
    yield host, host, "127.0.0.1", "127.0.0.1"


@asynccontextmanager
async def _memory(loop):
    async with Stack(hosts=STACK_NAMES) as client, Stack(hosts=STACK_NAMES) as server:
        near, far = memory_pair()
        client.attach(near, ["10.0.0.1/24", "fd00::1/64"])
        server.attach(far, ["10.0.0.2/24", "fd00::2/64"])
        yield client, server, "10.0.0.2", "10.0.0.1"


@asynccontextmanager
async def _routed(loop):
    loop.stacks.loopback = True
    async with _memory(loop) as (client, server, *rest):
        yield RoutedHost(loop, client), RoutedHost(loop, server), *rest


@asynccontextmanager
async def _virtual(loop):
    async with Network(seed=1) as network:
        client = network.host("client", "10.0.0.1/24", "fd00::1/64")
        server = network.host("server", "10.0.0.2/24", "fd00::2/64")
        network.link(client, server, delay=0.005)
        client.names.table["two-addresses"] = STACK_NAMES["two-addresses"]
        yield client, server, "10.0.0.2", "10.0.0.1"


LOOPS = {
    "kernel": KernelLoop,
    "memory": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
    "virtual": VirtualTimeLoop,
    "routed": EventLoop,
}
HOSTS = {"kernel": _kernel, "memory": _memory, "uvloop": _memory, "virtual": _virtual, "routed": _routed}


def timers_left(loop):
    """Timers that are still set. uvloop does not tell."""
    if isinstance(loop, VirtualTimeLoop):
        return loop.timers
    return sum(not handle.cancelled() for handle in getattr(loop, "_scheduled", ()))


def descriptors():
    return set(os.listdir("/proc/self/fd"))


async def run_on(medium, test, arguments):
    """Run `test(net, **arguments)` on `medium`, and look at what it left."""
    loop = asyncio.get_running_loop()
    before = descriptors()
    async with HOSTS[medium](loop) as (client, server, host, client_host):
        net = Net(medium, loop, client, server, host, client_host)
        try:
            await test(net, **arguments)
        finally:
            await net.close()
    if medium == "kernel":
        await kernel_closes(before)
    else:
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert not net.errors, "nobody expected\n" + "\n".join(map(describe, net.errors))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert timers_left(loop) == 0
    assert descriptors() == before


async def kernel_closes(before):
    """The kernel's transports take some turns to close, more with TLS."""
    for _ in range(200):
        if descriptors() == before:
            break
        await asyncio.sleep(0.005)


def describe(context):
    exc = context.get("exception")
    return context["message"] + "".join(traceback.format_exception(exc) if exc is not None else ())


def contract(test=None, *, media=ALL):
    """Run an async test that takes `net` first on each of `media`, each on a loop of its own."""
    if test is None:
        return functools.partial(contract, media=media)
    rest = list(inspect.signature(test).parameters.values())[1:]

    def run(medium, **arguments):
        with asyncio.Runner(loop_factory=LOOPS[medium]) as runner:
            runner.run(run_on(medium, test, arguments))

    medium = inspect.Parameter("medium", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    run.__signature__ = inspect.Signature([medium, *rest])
    run.pytestmark = [*getattr(test, "pytestmark", []), pytest.mark.parametrize("medium", media).mark]
    return run
