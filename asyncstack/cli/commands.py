"""The commands, their options and their help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from asyncstack.cli.interface import InterfaceOptions, interface_options, port_option
from asyncstack.cli.run import ProgramCommand
from asyncstack.version import __version__

Function = TypeVar("Function", bound=Callable[..., Any])

HOPS = click.IntRange(0, 255)
COUNT = click.IntRange(min=0)
SECONDS = click.FloatRange(min=0.001)
ECHO_SIZE = click.IntRange(0, 65507)
FILE = click.Path(exists=True, dir_okay=False)


class HostPort(click.ParamType[tuple[str, int]]):
    """HOST:PORT, or [HOST]:PORT for IPv6."""

    name = "HOST:PORT"

    def convert(self, value: object, param: object, ctx: object) -> tuple[str, int]:
        """(host, port)."""
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdigit() or int(port) > 0xFFFF:
            self.fail(f"{value!r} is not HOST:PORT")
        return host.strip("[]"), int(port)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asyncstack")
def cli() -> None:
    """A TCP/IP stack on your asyncio event loop."""


@cli.command()
@click.argument("target")
@interface_options
@click.option(
    "--publish", type=HostPort(), help="Serve in a simulated network, reached through this kernel address."
)
@port_option
@click.option("--ssl-certfile", type=FILE, help="Serve HTTPS with the certificates of this file (PEM).")
@click.option("--ssl-keyfile", type=FILE, help="Their private key, if it is not in the same file.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes, each on a queue of the TUN or TAP; who dies is replaced.",
)
@click.option("--seat", hidden=True)  # what one of several workers is told
def serve(
    target: str,
    interface: InterfaceOptions,
    publish: tuple[str, int] | None,
    port: int,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    workers: int,
    seat: str | None,
) -> None:
    """Serve TARGET: a folder of static files, or module:attribute.

    module:attribute names an ASGI application (FastAPI, Starlette, Django ...), which uvicorn runs (pip install
    'asyncstack[serve]'); an async handler(reader, writer); or an asyncstack HTTP application. The module is found from
    the current folder.

    \b
      asyncstack serve ./site --tun as0 --address 10.9.0.2/24 --peer 10.9.0.1/24
      asyncstack serve ./site --tun as0 --address fd09::2/64 --peer fd09::1/64
      asyncstack serve app:app --publish 127.0.0.1:8080
    """
    from asyncstack.cli.running import run
    from asyncstack.cli.serve import Service, serve_on_interface, serve_published
    from asyncstack.cli.target import load_target

    if ssl_keyfile and not ssl_certfile:
        raise click.UsageError("--ssl-keyfile is of no use without --ssl-certfile")

    if publish is None:
        neither = interface.tun is None and interface.tap is None
        interface.check(", or --publish HOST:PORT, which needs no privileges" if neither else "")
    else:
        interface.check_unused("--publish is for the simulated network")
    if workers > 1:
        from asyncstack.cli.workers import serve_as_worker, supervise

        if seat is None:
            run(supervise(interface, port, workers, published=publish is not None, tls=bool(ssl_certfile)))
            return
    service = Service(load_target(target), port, ssl_certfile, ssl_keyfile)
    if seat is not None:
        run(serve_as_worker(service, interface, seat))
    elif publish is None:
        run(serve_on_interface(service, interface))
    else:
        run(serve_published(service, publish, interface))


@cli.command(cls=ProgramCommand, context_settings={"allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, metavar="[SCRIPT] [ARGUMENTS]...", type=click.UNPROCESSED)
@click.option("-m", "module", metavar="MODULE", help="Run a module, as `python -m` does.")
@interface_options
@click.option(
    "--network", metavar="FILE", help="Stand on a host of a simulated network: no privileges needed."
)
@click.option("--config", metavar="FILE", help="Have what a file of settings says.")
def run(
    arguments: tuple[str, ...],
    module: str | None,
    interface: InterfaceOptions,
    network: str | None,
    config: str | None,
) -> None:
    """Run an asyncio program, unchanged, on a stack.

    \b
      asyncstack run --tun as0 --address 10.9.0.2/24 --peer 10.9.0.1/24 -m uvicorn app:app --host 10.9.0.2
      asyncstack run --tun as0 --address fd09::2/64 --peer fd09::1/64 -m uvicorn app:app --host fd09::2
      asyncstack run --network net.toml script.py --some option

    Without --tun, --tap, --network and --config the environment says what there is: ASYNCSTACK_CONFIG=FILE, or
    ASYNCSTACK_TUN, ASYNCSTACK_ADDRESSES and so on. `python -m pydoc asyncstack.loop.settings` shows what a FILE says.

    Calls of asyncio to an address of the stack, to any address ("0.0.0.0") and to where the stack has a route are
    answered by it; loopback and all else by the kernel. There is no default route but by --gateway, DHCP or a router
    advertisement.

    What is replaced, in this process alone: the loop classes of asyncio and uvloop, with which all their factories and
    policies make loops that have the stack, one loop at a time; and socket.socket, by a subclass that records what is
    bound to an address of the stack, which the loop makes a socket of the stack when it is given to it.

    What does not work, and says so: blocking sockets on addresses of the stack, except connections from a thread
    beside the loop's; child processes, so uvicorn's --workers and --reload, and hypercorn without --workers 0.
    """
    from asyncstack.cli.run import run_program, settings_of
    from asyncstack.cli.running import explain, fail

    try:
        settings = settings_of(interface, network, config)
    except (OSError, ValueError) as exc:
        fail(explain(exc))
    run_program(settings, module, arguments)


FAMILY = (
    click.option("-4", "family", flag_value="4", help="An IPv4 address of HOST."),
    click.option("-6", "family", flag_value="6", help="An IPv6 address of HOST."),
)


@cli.command()
@click.argument("host")
@interface_options
@click.option(
    "--count", "-c", type=COUNT, default=4, show_default=True, help="Echo requests; 0 goes on until Ctrl-C."
)
@click.option("--interval", "-i", type=SECONDS, default=1.0, show_default=True, help="Seconds between two.")
@click.option(
    "--timeout",
    "-W",
    type=SECONDS,
    help="Seconds for a reply.  [default: 1, and 10 for the last while none has come]",
)
@click.option("--size", "-s", type=ECHO_SIZE, default=56, show_default=True, help="Payload bytes.")
@click.option("--ttl", "-t", type=HOPS, default=0, help="Time to live, or hop limit; the stack's is 64.")
@click.option("--source", "-I", metavar="A", help="The address of the stack to ping from.")
@FAMILY[0]
@FAMILY[1]
def ping(host: str, interface: InterfaceOptions, family: str | None, **options: Any) -> None:
    """Ping HOST from a stack on a TUN or TAP."""
    from asyncstack.cli.ping import PingOptions
    from asyncstack.cli.ping import ping as ping_host
    from asyncstack.cli.running import run

    interface.check()
    run(ping_host(interface, host, PingOptions(family=family or "", **options)))


@cli.command()
@click.argument("host")
@interface_options
@click.option("-U", "method", flag_value="udp", default=True, help="Probe by UDP (the default).")
@click.option("-I", "--icmp", "method", flag_value="icmp", help="Probe by ICMP echo requests.")
@click.option("-T", "--tcp", "method", flag_value="tcp", help="Probe by TCP SYNs.")
@click.option(
    "--port", "-p", type=click.IntRange(0, 0xFFFF), default=0, help="33434 and on for UDP, 80 for TCP."
)
@click.option(
    "--first", "-f", type=click.IntRange(1, 255), default=1, show_default=True, help="The TTL to begin with."
)
@click.option(
    "--max-hops", "-m", type=click.IntRange(1, 255), default=30, show_default=True, help="The last one."
)
@click.option(
    "--queries", "-q", type=click.IntRange(1, 10), default=3, show_default=True, help="Probes for each hop."
)
@click.option("--wait", "-w", type=SECONDS, default=5.0, show_default=True, help="Seconds for an answer.")
@click.option("--source", "-s", metavar="A", help="The address of the stack to probe from.")
@click.option("--numeric", "-n", is_flag=True, help="Do not look up the names of the hops.")
@FAMILY[0]
@FAMILY[1]
def traceroute(host: str, interface: InterfaceOptions, family: str | None, **options: Any) -> None:
    """Show the routers between a stack on a TUN or TAP and HOST."""
    from asyncstack.cli.running import run
    from asyncstack.cli.traceroute import TracerouteOptions, trace

    interface.check()
    if options["first"] > options["max_hops"]:
        raise click.UsageError("--first is beyond --max-hops")
    run(trace(interface, host, TracerouteOptions(family=family or "", **options)))


def _spelt(name: str, **attributes: Any) -> Callable[[Function], Function]:
    """An option that packetdrill has too: there its words are joined by underscores."""
    own = "--" + name[2:].replace("-", "_")
    return click.option(*dict.fromkeys((name, own)), **attributes)


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--verbose", "-v", is_flag=True, help="Say of each script how it ended, and what its code prints."
)
@_spelt(
    "--ip-version", type=click.Choice(["ipv4", "ipv6", "ipv4-mapped-ipv6"]), help="Over the script's own."
)
@_spelt("--mtu", type=click.IntRange(min=68), help="Of the link; 1500.")
@_spelt("--local-ip", metavar="ADDRESS", help="Of the stack.")
@_spelt("--remote-ip", metavar="ADDRESS", help="Of the peer.")
@_spelt("--tolerance-usecs", type=click.IntRange(min=0), help="How much earlier or later is on time.")
@click.option("--define", "-D", "defined", multiple=True, metavar="NAME=VALUE", help="A word of the scripts.")
def packetdrill(
    paths: tuple[Path, ...], verbose: bool, defined: tuple[str, ...], **options: str | int | None
) -> None:
    """Run packetdrill scripts against a stack of our own, in virtual time.

    Of a directory all *.pkt below it. A script passes, fails, or is unsupported for what only a kernel has; the exit
    status is 1 if one failed.

    \b
      asyncstack packetdrill tests/conversations
      asyncstack packetdrill -v handshake.pkt --ip-version ipv6

    packetdrill's own spelling of the options, --ip_version=ipv6, is understood too.
    """
    from asyncstack.cli.packetdrill import run_scripts

    given = {name: str(value) for name, value in options.items() if value is not None}
    for word in defined:
        if "=" not in word:
            raise click.BadParameter(f"{word!r} is not NAME=VALUE", param_hint="--define")
    if not run_scripts(paths, verbose, given, defined):
        raise SystemExit(1)
