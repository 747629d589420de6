"""Lifetimes as routers advertise them, and the clock times at which they end."""

from __future__ import annotations

import math
from typing import Final

INFINITE: Final = 0xFFFFFFFF  # RFC 4861 4.6.2: without end


def until(lifetime: int, now: float) -> float:
    """When `lifetime` seconds from `now` are over; `math.inf` for never."""
    return math.inf if lifetime >= INFINITE else now + lifetime
