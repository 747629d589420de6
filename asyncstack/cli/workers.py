"""`asyncstack serve --workers`: the supervisor, and the process that it starts for each worker."""

from __future__ import annotations

import sys

import click

from asyncstack.cli.interface import InterfaceOptions
from asyncstack.cli.running import say
from asyncstack.cli.serve import Service
from asyncstack.workers.seat import Seat
from asyncstack.workers.sharing import SharedInterface
from asyncstack.workers.supervisor import Start, Supervisor, WorkersFailed
from asyncstack.workers.worker import Worker


def check(interface: InterfaceOptions, port: int, published: bool) -> None:
    """Raise click.UsageError for what workers can not share."""
    if published:
        raise click.UsageError("--workers needs the queues of a --tun or --tap: a simulated network has none")
    if port == 0:
        raise click.UsageError("--workers needs a port that all of them serve: --port 80")
    if interface.words:
        raise click.UsageError(f"--workers share addresses: write them out instead of {interface.words[0]}")
    if interface.capture:
        raise click.UsageError("--capture is for one process: leave out --workers")


async def supervise(
    interface: InterfaceOptions, port: int, count: int, *, published: bool, tls: bool
) -> None:
    """Run `count` processes of this very command line, each on a queue of the interface, until cancelled.

    Raises click.UsageError for what workers can not share, SystemExit with a message if they do not keep running.
    """
    check(interface, port, published)
    kind, name = interface.kind()
    shared = SharedInterface(kind, name, count, **interface.options())
    async with shared:

        def start(index: int, control: int) -> Start:
            seat = shared.seat(index)
            seat.control = control
            command = [sys.executable, *sys.orig_argv[1:], "--seat", seat.dumps()]
            return Start(command, seat.fds)

        def ready() -> None:
            for url in interface.urls(port, "https" if tls else "http"):
                click.echo(f"asyncstack: serving {url} with {count} workers (Ctrl-C ends it)")

        try:
            await Supervisor(count, start, say).run(ready)
        except WorkersFailed as exc:
            say(str(exc))
            raise SystemExit(exc.status) from None


async def serve_as_worker(service: Service, interface: InterfaceOptions, seat: str) -> None:
    """Serve on one queue, as `supervise` wants it."""
    worker = Worker(Seat.loads(seat), service.port, offload=interface.offload)

    async def listening(port: int) -> None:
        worker.listening()

    try:
        async with interface.stack(worker.device, worker.config) as stack:
            worker.join(stack)
            await service.serve(stack, listening)
    finally:
        worker.leave()
