"""The reset that answers a segment which belongs to no connection (RFC 9293 3.10.7.1)."""

from __future__ import annotations

from asyncstack.transport.tcp.sequence import MASK
from asyncstack.wire.tcp import ACK, FIN, RST, SYN, Segment


def reset_for(segment: Segment) -> Segment | None:
    """The RST that `segment` deserves, or None: a reset is never answered by one."""
    flags = segment.flags
    if flags & RST:
        return None
    if flags & ACK:
        return Segment(segment.dst_port, segment.src_port, segment.ack, 0, RST, 0)
    length = len(segment.payload) + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
    return Segment(segment.dst_port, segment.src_port, 0, (segment.seq + length) & MASK, RST | ACK, 0)
