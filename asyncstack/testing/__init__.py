"""Tools to test networked programs with: virtual time, a simulated network, faults.

    from asyncstack.testing import Network, run

    async def main():
        async with Network() as net:
            a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
            net.link(a, b, delay=0.010, loss=0.01, rate=100e6)
            print(await a.ping("b"))

    run(main(), seed=1)

clock.py is the loop in virtual time, network.py the hosts, links.py, direction.py and lan.py the way
between them, impairment.py what may befall a packet there, plugin.py all that for pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncstack.testing.clock import DeadlockError, TimeLimitError, VirtualTimeLoop, new_event_loop, run
    from asyncstack.testing.impairment import GilbertElliott, Impairments, LossModel, Passing, Verdict
    from asyncstack.testing.lan import Lan
    from asyncstack.testing.links import Link
    from asyncstack.testing.network import Network

__all__ = [
    "DeadlockError",
    "GilbertElliott",
    "Impairments",
    "Lan",
    "Link",
    "LossModel",
    "Network",
    "Passing",
    "TimeLimitError",
    "Verdict",
    "VirtualTimeLoop",
    "new_event_loop",
    "run",
]

# Imported at first use: pytest loads the plugin, and with it this package, in every run.
_MODULES = {
    "clock": ("DeadlockError", "TimeLimitError", "VirtualTimeLoop", "new_event_loop", "run"),
    "impairment": ("GilbertElliott", "Impairments", "LossModel", "Passing", "Verdict"),
    "lan": ("Lan",),
    "links": ("Link",),
    "network": ("Network",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
