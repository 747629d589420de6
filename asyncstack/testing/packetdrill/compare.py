"""A line of the script held against a packet of ours: which fields differ, and both written alike."""

from __future__ import annotations

from typing import Final

from asyncstack.testing.packetdrill.packets import ICMP, LETTERS, TCP, UDP, Seen, flag_bits, flag_letters
from asyncstack.testing.packetdrill.script import IcmpLine, IpWords, PacketLine, TcpLine, UdpLine
from asyncstack.testing.packetdrill.tcp_options import Words

ECN: Final = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
_ECN_NAMES: Final = {value: name for name, value in ECN.items()}
_ACE_BITS: Final = LETTERS["A"] | LETTERS["W"] | LETTERS["E"]


def differences(line: PacketLine, seen: Seen, tick: float = 0.0, tolerance: float = 0.0) -> list[str]:
    """The names of the fields in which `seen`, mapped to the script's numbers, is not as `line` says.

    `tick`: seconds per unit of the timestamps; not 0 has them compared, within `tolerance` seconds.
    """
    found = list(seen.faults) + _ip(line.ip, seen)
    body = line.body
    if isinstance(body, TcpLine):
        if seen.protocol != TCP:
            return [*found, "protocol"]
        return found + _tcp(body, seen, tick, tolerance)
    if isinstance(body, UdpLine):
        return found + (["protocol"] if seen.protocol != UDP else ["length"] * (seen.length != body.length))
    return found + (["protocol"] if seen.protocol not in ICMP.values() else [])


def _ip(words: IpWords, seen: Seen) -> list[str]:
    ecn = seen.tos & 3
    wrong = []
    if words.ecn is not None and (ecn not in (1, 2) if words.ecn == "ect01" else ecn != ECN[words.ecn]):
        wrong.append("ECN")
    if words.tos is not None and words.tos != seen.tos:
        wrong.append("tos")
    if words.ttl is not None and words.ttl != seen.ttl:
        wrong.append("ttl")
    return wrong


def _tcp(line: TcpLine, seen: Seen, tick: float, tolerance: float) -> list[str]:
    # with a number behind the dot the three ECN flags are one counter, and compared as that
    wanted = flag_bits(line.flags, line.ace)
    # Linux pushes every super-segment, or only the last, by its version, and it cuts them elsewhere than we do
    ignored = LETTERS["P"] if seen.full else 0
    wrong = []
    if (wanted ^ seen.flags) & ~ignored:
        wrong.append("flags")
    if line.seq != seen.seq:
        wrong.append("seq")
    if line.length != seen.length:
        wrong.append("length")
    if "." in line.flags and (line.ack or 0) != seen.ack:
        wrong.append("ack")
    if line.window is not None and not line.window[0] <= seen.window <= line.window[1]:
        wrong.append("win")
    if line.urgent != seen.urgent:
        wrong.append("urg")
    if line.options is not None and not _options_equal(line.options, seen.options, tick, tolerance):
        wrong.append("options")
    if any(seen.payload):
        wrong.append("payload")
    return wrong


def _options_equal(wanted: list[Words], seen: list[Words], tick: float, tolerance: float) -> bool:
    if len(wanted) != len(seen):
        return False
    for expected, actual in zip(wanted, seen, strict=True):
        if expected[0] != actual[0]:
            return False
        if expected[0] == "TS":
            if tick and abs(int(expected[2]) - int(actual[2])) * tick > tolerance:
                return False
        elif expected != actual:
            return False
    return True


# as text


def describe_line(line: PacketLine) -> str:
    """An expected packet, laid out as `describe_seen` lays out what came."""
    words, body = line.ip, line.body
    ip = [words.ecn] if words.ecn else []
    if words.tos is not None:
        ip.append(f"tos {words.tos:#04x}")
    if words.ttl is not None:
        ip.append(f"ttl {words.ttl}")
    prefix = f"[{','.join(ip)}] " if ip else ""
    if isinstance(body, TcpLine):
        window = body.window
        text = flag_letters(flag_bits(body.flags, None)) + (str(body.ace) if body.ace is not None else "")
        text += f" {body.seq}:{body.seq + body.length}({body.length})"
        text += f" ack {body.ack or 0}" if "." in body.flags else ""
        if window is not None:
            text += f" win {window[0]}" + (f"~{window[1]}" if window[0] != window[1] else "")
        text += f" urg {body.urgent}" if body.urgent else ""
        options = "..." if body.options is None else _options(body.options)
    elif isinstance(body, UdpLine):
        text, options = f"udp ({body.length})", ""
    else:
        text, options = _icmp(body), ""
    return f"{prefix}{text}" + (f" <{options}>" if options else "")


def describe_seen(seen: Seen, like: PacketLine | None = None) -> str:
    """A packet of ours. Of the IP header it says what `like` says."""
    ip = []
    if like is None or like.ip.ecn is not None or seen.tos & 3:
        ip.append(_ECN_NAMES[seen.tos & 3])
    if like is not None and like.ip.tos is not None:
        ip.append(f"tos {seen.tos:#04x}")
    if like is not None and like.ip.ttl is not None:
        ip.append(f"ttl {seen.ttl}")
    prefix = f"[{','.join(ip)}] " if (ip and ip != ["noecn"]) or (like and like.ip.ecn) else ""
    if seen.protocol == UDP:
        return f"{prefix}udp ({seen.length})"
    if seen.protocol != TCP:
        return f"{prefix}icmp {seen.payload[:2].hex(' ')}"
    by_number = like is not None and isinstance(like.body, TcpLine) and like.body.ace is not None
    if by_number:
        ace = seen.flags >> 6 & 7
        text = flag_letters(seen.flags & ~_ACE_BITS) + str(ace)
    else:
        text = flag_letters(seen.flags)
    text += f" {seen.seq}:{seen.seq + seen.length}({seen.length})"
    text += f" ack {seen.ack}" if seen.flags & LETTERS["."] else ""
    if like is None or not isinstance(like.body, TcpLine) or like.body.window is not None:
        text += f" win {seen.window}"
    text += f" urg {seen.urgent}" if seen.urgent else ""
    return prefix + text + (f" <{_options(seen.options)}>" if seen.options else "")


def _icmp(line: IcmpLine) -> str:
    text = f"icmp {line.kind} {line.code}".rstrip()
    return text + (f" mtu {line.mtu}" if line.mtu else "")


def _options(options: list[Words]) -> str:
    return ",".join(" ".join(words) for words in options)
