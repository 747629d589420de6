"""Flow control of writers: asyncio's mix-in, whose `pause_writing` has the context of the other callbacks here."""

from __future__ import annotations

import contextvars
from asyncio.transports import _FlowControlMixin


class FlowControl(_FlowControlMixin):
    """Water marks, `pause_writing` and `resume_writing`. The mix-in is private to asyncio; `loop.sendfile` insists on
    it."""

    __slots__ = ()

    _context: contextvars.Context

    def _maybe_pause_protocol(self) -> None:
        # within write(), so perhaps within a callback, which has entered the context: none can be entered twice
        self._context.copy().run(super()._maybe_pause_protocol)  # type: ignore[misc]
