"""What a capture of the demo's faulty link says about the transfer, read with dpkt: nothing of ours is asked."""

import bisect
from dataclasses import dataclass, field
from pathlib import Path

import dpkt

CLIENT, SERVER = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
SACK_OPTION = 5


@dataclass
class Transfer:
    """The packets of one connection, as the sender's end of the link saw them. Times in seconds, the rest bytes,
    counted from the first byte of data."""

    acked: list[tuple[float, int]] = field(default_factory=list)  # highest acknowledgement so far
    flight: list[tuple[float, int]] = field(default_factory=list)  # after each segment sent
    sent_again: list[float] = field(default_factory=list)
    sack: list[float] = field(default_factory=list)

    def acked_before(self, t: float) -> int:
        """Bytes acknowledged before `t`."""
        index = bisect.bisect_left(self.acked, (t, -1))
        return self.acked[index - 1][1] if index else 0

    def goodput(self, t0: float, t1: float) -> float:
        """Bytes per second newly acknowledged in [t0, t1)."""
        return (self.acked_before(t1) - self.acked_before(t0)) / (t1 - t0)

    def highest_flight(self, t0: float, t1: float) -> int:
        """Most bytes sent and not acknowledged at any time in [t0, t1)."""
        first, last = (bisect.bisect_left(self.flight, (t, -1)) for t in (t0, t1))
        return max((size for _, size in self.flight[first:last]), default=0)

    def undisturbed(self, t0: float, t1: float) -> bool:
        """Whether nothing was sent again and nothing reported missing in [t0, t1)."""
        return count(self.sent_again, t0, t1) == count(self.sack, t0, t1) == 0


def count(times: list[float], t0: float, t1: float) -> int:
    """How many of the ascending `times` are in [t0, t1)."""
    return bisect.bisect_left(times, t1) - bisect.bisect_left(times, t0)


def read(path: Path, port: int) -> Transfer:
    """The transfer to the client's `port` in the pcapng file."""
    transfer = Transfer()
    start = end = acked = 0
    with path.open("rb") as file:
        for t, data in dpkt.pcapng.Reader(file):
            packet = dpkt.ip.IP(data)
            tcp = packet.data
            if port not in (tcp.sport, tcp.dport):
                continue
            if packet.src == SERVER:
                if tcp.flags & dpkt.tcp.TH_SYN:
                    start = tcp.seq + 1
                elif tcp.data:
                    begin = unwrap(tcp.seq - start, end)
                    if begin < end:
                        transfer.sent_again.append(t)
                    end = max(end, begin + len(tcp.data))
                    transfer.flight.append((t, end - acked))
            elif tcp.flags & dpkt.tcp.TH_ACK:
                acked = max(acked, unwrap(tcp.ack - start, acked))
                transfer.acked.append((t, acked))
                if any(kind == SACK_OPTION for kind, _ in dpkt.tcp.parse_opts(tcp.opts)):
                    transfer.sack.append(t)
    return transfer


def unwrap(number: int, near: int) -> int:
    """The position nearest to `near` that has `number` as its low 32 bits."""
    return near + (number - near + (1 << 31)) % (1 << 32) - (1 << 31)
