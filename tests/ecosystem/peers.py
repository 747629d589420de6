"""The kernel's side of an exchange: a process in the namespace of the test, on kernel sockets and a plain loop.

Libraries are slow to import, so one process (`python -m tests.ecosystem.peers FD`) imports them and forks for each
peer. Jobs come over a Unix socket, each with the namespace to enter and a socket to report to. A peer says how it
ended, a server before that that it is ready; a server ends when its socket is closed from the other side.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.ecosystem.columns import PLAIN
from tests.ecosystem.rows import load
from tests.ecosystem.site import Site
from tests.netns import enter
from tests.running import CHECKOUT, die_with_parent

SECONDS = 30  # a peer that takes longer is killed


class Peers:
    """The process that forks, from the test's side. `close` ends it and all that it forked."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.ecosystem.peers", str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=CHECKOUT, pass_fds=[theirs.fileno()])
        theirs.close()
        self._jobs = ours

    def close(self) -> None:
        self._jobs.close()
        self._process.wait()

    @asynccontextmanager
    async def _job(
        self, role: str, exchange: str, site: Site, loop: str, namespace: int
    ) -> AsyncIterator["Report"]:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                job = {
                    "role": role,
                    "exchange": exchange,
                    "host": site.host,
                    "folder": str(site.folder),
                    "loop": loop,
                }
                socket.send_fds(self._jobs, [json.dumps(job).encode()], [namespace, theirs.fileno()])
            ours.setblocking(False)
            yield Report(ours)

    @asynccontextmanager
    async def server(self, exchange: str, site: Site, loop: str, namespace: int) -> AsyncIterator[None]:
        """The server of an exchange, in a process inside `namespace`. Raises AssertionError if it does not end well."""
        async with self._job("server", exchange, site, loop, namespace) as report:
            assert await report.read() == {"ready": True}
            yield
            report.close()
            assert await report.read() == {"ended": ""}

    async def client(self, exchange: str, site: Site, loop: str, namespace: int) -> None:
        """The client of an exchange, likewise."""
        async with self._job("client", exchange, site, loop, namespace) as report:
            assert await report.read() == {"ended": ""}


class Report:
    """What a peer says: lines of JSON."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = b""

    async def read(self) -> dict[str, Any]:
        """The next line. Raises AssertionError with the peer's traceback if that is what it says."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._received:
            data = await loop.sock_recv(self._sock, 65536)
            assert data, "the peer died, or was killed after its time"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        assert not said.get("ended"), f"the kernel's side failed:\n{said['ended']}"
        return said

    def close(self) -> None:
        """Let a server end."""
        self._sock.shutdown(socket.SHUT_WR)


# the other side


async def _peer(job: dict[str, str], report: socket.socket) -> None:
    """One peer, from its beginning to its end."""
    exchange, site = load(job["exchange"]), Site(job["host"], Path(job["folder"]))
    if job["role"] == "client":
        await exchange.use(site)
        return
    async with exchange.serve(site):
        report.send(b'{"ready": true}\n')
        assert await asyncio.get_running_loop().sock_recv(report, 1) == b""


def _forked(job: dict[str, str], namespace: int, report: socket.socket) -> None:
    die_with_parent()
    enter(namespace)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.alarm(SECONDS)
    report.setblocking(False)
    with asyncio.Runner(loop_factory=PLAIN[job["loop"]]) as runner:
        runner.run(_peer(job, report))


def _serve_jobs(jobs: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        message, fds, _, _ = socket.recv_fds(jobs, 65536, 2)
        if not message:
            return
        job = json.loads(message)
        with suppress(ImportError):  # said by the peer
            load(job["exchange"])
        namespace, report = fds[0], socket.socket(fileno=fds[1])
        if os.fork() == 0:
            jobs.close()
            ended = ""
            try:
                _forked(job, namespace, report)
            except BaseException:
                ended = traceback.format_exc()
            report.setblocking(True)
            with suppress(OSError):
                report.sendall(json.dumps({"ended": ended}).encode() + b"\n")
            os._exit(0)
        report.close()
        os.close(namespace)


if __name__ == "__main__":
    _serve_jobs(socket.socket(fileno=int(sys.argv[1])))
