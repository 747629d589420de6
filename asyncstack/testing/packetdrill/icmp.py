"""ICMP errors by the words that scripts use for them: type, code, and the 4 bytes behind the checksum."""

from __future__ import annotations

import re
from typing import Final

from asyncstack.testing.packetdrill.script import IcmpLine, ScriptError

# RFC 792, RFC 1812 5.2.7.1, in the order of their numbers
_UNREACHABLE: Final = (
    "net_unreachable host_unreachable protocol_unreachable port_unreachable frag_needed source_route_failed "
    "net_unknown host_unknown source_host_isolated net_prohibited host_prohibited net_unreachable_for_tos "
    "host_unreachable_for_tos packet_filtered precedence_violation precedence_cutoff"
)
# RFC 4443
_UNREACHABLE_V6: Final = "no_route admin_prohibited not_neighbour address_unreachable port_unreachable"

# word -> (type, words of its codes)
_V4: Final = {
    "echo_reply": (0, ""),
    "unreachable": (3, _UNREACHABLE),
    "source_quench": (4, ""),
    "redirect": (5, ""),
    "echo_request": (8, ""),
    "time_exceeded": (11, ""),
    "parameter_problem": (12, ""),
}
_V6: Final = {
    "unreachable": (1, _UNREACHABLE_V6),
    "packet_too_big": (2, ""),
    "time_exceeded": (3, "exceeded_hop_limit exceeded_frag_time"),
    "parameter_problem": (4, "header_field unknown_next_header unknown_option"),
    "echo_request": (128, ""),
    "echo_reply": (129, ""),
}
# scripts that are run over both families write the older words
_V6_FOR_V4: Final = {
    ("unreachable", "frag_needed"): ("packet_too_big", ""),
    ("unreachable", "net_unreachable"): ("unreachable", "no_route"),
    ("unreachable", "host_unreachable"): ("unreachable", "address_unreachable"),
}
_FRAG_NEEDED: Final = (3, 4)
_PACKET_TOO_BIG: Final = (2, 0)


def quote_type(line: IcmpLine, v6: bool) -> tuple[int, int, int]:
    """(type, code, rest of the header) for a line. Raises ScriptError for a word that is none."""
    kind, code = (line.kind, line.code)
    if v6:
        kind, code = _V6_FOR_V4.get((kind, code), (kind, code))
    table = _V6 if v6 else _V4
    number, words = table.get(kind, (_numbered("type", kind), ""))
    found = 0 if not code else words.split().index(code) if code in words.split() else _numbered("code", code)
    if number < 0 or found < 0:
        raise ScriptError(f"no ICMP error `{line.kind} {line.code}` in IPv{6 if v6 else 4}")
    takes_mtu = (number, found) == (_PACKET_TOO_BIG if v6 else _FRAG_NEEDED)
    return number, found, line.mtu if takes_mtu else 0


def _numbered(what: str, word: str) -> int:
    match = re.fullmatch(rf"{what}_(\d+)", word)
    return int(match[1]) if match else -1
