"""Congestion control: the only place where a congestion window is assigned."""

from __future__ import annotations

from asyncstack.transport.tcp.congestion.base import AckSample, CongestionControl, LossBased
from asyncstack.transport.tcp.congestion.bbr.control import Bbr
from asyncstack.transport.tcp.congestion.cubic import Cubic
from asyncstack.transport.tcp.congestion.registry import Controllers
from asyncstack.transport.tcp.congestion.reno import Reno

__all__ = ["AckSample", "Bbr", "CongestionControl", "Controllers", "Cubic", "LossBased", "Reno"]
