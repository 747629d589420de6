"""What a page may ask for: {"loss": 0.01}, {"delay": 0.05}, {"rate": 1e7}, {"transfer": "stop"}."""

import json

from demos.site.transfer import Transfer
from demos.site.world import World

# Probability, seconds, bits per second.
BOUNDS = {"loss": (0.0, 0.5), "delay": (0.0, 0.5), "rate": (1e5, 50e6)}
TRANSFER = ("start", "stop", "restart")


def obey(message: str | bytes, world: World, transfer: Transfer) -> None:
    """Carry out one message. Raises ValueError for what makes no sense; nothing has changed then."""
    wanted = json.loads(message)
    if not isinstance(wanted, dict):
        raise ValueError("a message is an object")
    changes: dict[str, float] = {}
    for name, value in wanted.items():
        if name in BOUNDS and type(value) in (int, float):
            low, high = BOUNDS[name]
            if not low <= value <= high:
                raise ValueError(f"{name} is {low} to {high}")
            changes[name] = value
        elif name != "transfer" or value not in TRANSFER:
            raise ValueError(f"no control {name!r} takes {value!r}")
    world.faulty.set(**changes)
    match wanted.get("transfer"):
        case "start":
            transfer.wanted.set()
        case "stop":
            transfer.stop()
        case "restart":
            transfer.restart()
