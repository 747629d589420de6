"""Congestion control: the only place where a congestion window is assigned."""

from __future__ import annotations

from asyncstack.transport.tcp.congestion.base import AckSample, CongestionControl
from asyncstack.transport.tcp.congestion.cubic import Cubic
from asyncstack.transport.tcp.congestion.reno import Reno

__all__ = ["AckSample", "CongestionControl", "Cubic", "Reno", "controller"]


def controller(name: str) -> CongestionControl:
    """A new controller of that name. Raises ValueError for a name that no controller has."""
    if name == Cubic.name:
        return Cubic()
    if name == Reno.name:
        return Reno()
    raise ValueError(f"TcpConfig.congestion: no controller {name!r}; choose from 'cubic', 'reno'")
