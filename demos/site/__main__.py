"""make demo, or `python -m demos.site`; --help tells more."""

import click

from asyncstack.cli.commands import HostPort
from asyncstack.cli.interface import InterfaceOptions, interface_options, port_option
from asyncstack.cli.running import invoke, run
from demos.site.serving import serve
from demos.site.ways import Options


@click.command()
@interface_options
@click.option("--publish", type=HostPort(), help="Kernel address; without --tun and --tap: 127.0.0.1:8080.")
@port_option
@click.option("--seed", type=int, help="Makes the losses of the faulty link repeatable.")
@click.option("-6", "version", flag_value=6, type=int, default=4, help="IPv6 inside, also of the transfer.")
def main(
    interface: InterfaceOptions, publish: tuple[str, int] | None, port: int, seed: int | None, version: int
) -> None:
    """Serve the demo site: on 127.0.0.1:8080, or on a TUN or TAP. --capture takes the faulty link's packets."""
    real = bool(interface.tun or interface.tap or interface.address or interface.peer)
    if real:
        interface.check()
    elif publish is None:
        publish = "127.0.0.1", 8080
    run(serve(Options(interface if real else None, publish, port, seed, interface.capture, version)))


if __name__ == "__main__":
    invoke(main, "demos.site")
