"""The same test on the kernel's sockets and on a stack's: `net` makes sockets whose calls are awaited."""

import asyncio
import errno
import select
import socket
from socket import AF_INET, SOCK_STREAM

import pytest

from asyncstack import Stack


class KernelSocket:
    """A socket of the kernel with `StackSocket`'s surface: what would block waits in a thread of the loop's poll."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.setblocking(False)
        self.waits = True

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def setblocking(self, flag):
        self.waits = flag

    async def attempt(self, mask, call, *args):
        while True:
            try:
                return call(*args)
            except BlockingIOError:
                if not self.waits or socket.MSG_DONTWAIT in args:
                    raise
            await self.poll(mask)

    async def poll(self, mask, timeout=None):
        poller = select.poll()
        poller.register(self.sock, mask)
        end = None if timeout is None else asyncio.get_running_loop().time() + timeout
        await asyncio.sleep(0)
        while not (ready := poller.poll(0)):
            if end is not None and asyncio.get_running_loop().time() >= end:
                return 0
            await asyncio.sleep(0.001)
        return ready[0][1]

    async def accept(self):
        sock, address = await self.attempt(select.POLLIN, self.sock.accept)
        return KernelSocket(sock), address

    async def connect(self, address):
        try:
            self.sock.connect(address)
        except BlockingIOError:
            if not self.waits:
                raise
            await self.poll(select.POLLOUT)
            self.sock.connect(address)

    async def recv(self, *args):
        return await self.attempt(select.POLLIN, self.sock.recv, *args)

    async def recv_into(self, *args):
        return await self.attempt(select.POLLIN, self.sock.recv_into, *args)

    async def recvfrom(self, *args):
        return await self.attempt(select.POLLIN, self.sock.recvfrom, *args)

    async def recvmsg(self, *args):
        return await self.attempt(select.POLLIN, self.sock.recvmsg, *args)

    async def send(self, *args):
        return await self.attempt(select.POLLOUT, self.sock.send, *args)

    async def sendto(self, *args):
        return await self.attempt(select.POLLOUT, self.sock.sendto, *args)

    async def sendmsg(self, *args):
        return await self.attempt(select.POLLOUT, self.sock.sendmsg, *args)

    async def sendall(self, data):
        view = memoryview(data)
        while view:
            view = view[await self.send(view) :]


class Net:
    """Sockets of one kind, and pairs of them; all are closed in the end."""

    def __init__(self, stack):
        self.stack = stack
        self.kernel = stack is None
        self.made = []

    def socket(self, family=AF_INET, kind=SOCK_STREAM, proto=0):
        made = (
            KernelSocket(socket.socket(family, kind, proto))
            if self.kernel
            else self.stack.socket(family, kind, proto)
        )
        self.made.append(made)
        return made

    def listener(self, family=AF_INET, backlog=5, host=None):
        sock = self.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host or ("127.0.0.1" if family == AF_INET else "::1"), 0))
        sock.listen(backlog)
        return sock

    async def connected(self, family=AF_INET):
        """(client, server)."""
        listener = self.listener(family)
        client = self.socket(family)
        await client.connect(listener.getsockname())
        server, _ = await listener.accept()
        self.made.append(server)
        listener.close()
        return client, server

    async def settled(self):
        """Whatever is on its way has arrived."""
        await asyncio.sleep(0.01)


@pytest.fixture(params=["kernel", "stack"])
async def net(request):
    if request.param == "kernel":
        made = Net(None)
        yield made
        for sock in made.made:
            sock.close()
        return
    async with Stack() as stack:
        made = Net(stack)
        yield made
        for sock in made.made:
            sock.close()
        assert not stack._sockets
        assert not stack.tcp.claims._by_port
        assert not len(stack.tcp.listeners)


class raises:
    """`with raises(errno.EPIPE)`: an OSError with that errno."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        self.context = pytest.raises(OSError)
        self.info = self.context.__enter__()
        return self.info

    def __exit__(self, *exc):
        if not self.context.__exit__(*exc):
            return False
        got = self.info.value.errno
        assert got == self.number, f"{errno.errorcode.get(got, got)}, expected {errno.errorcode[self.number]}"
        return True
