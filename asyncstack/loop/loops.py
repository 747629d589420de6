"""The two loops for real time. The one for virtual time is `asyncstack.testing.VirtualTimeLoop`."""

from __future__ import annotations

import asyncio

import uvloop

from asyncstack.loop.opening import OpeningLoop
from asyncstack.loop.routing import RoutingLoop


class EventLoop(OpeningLoop, RoutingLoop, uvloop.Loop):  # type: ignore[misc]
    """uvloop's loop, with the stacks made on it."""


class SelectorEventLoop(OpeningLoop, RoutingLoop, asyncio.SelectorEventLoop):
    """The standard library's loop, with the stacks made on it."""
