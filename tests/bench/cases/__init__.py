"""The cases, in the order of the table."""

from __future__ import annotations

from .asgi import ASGI
from .bulk import BULK
from .case import Case, Scale
from .connections import CONNECTIONS
from .flood import FLOOD
from .growth import GROWTH
from .http import HTTP
from .latency import LATENCY
from .memory import MEMORY
from .one_process import ONE_PROCESS
from .segments import SEGMENTS

CASES: tuple[Case, ...] = (
    *BULK, *LATENCY, *HTTP, *ASGI, CONNECTIONS, MEMORY, *SEGMENTS, *ONE_PROCESS, GROWTH, FLOOD,
)  # fmt: skip
__all__ = ["CASES", "Case", "Scale"]
