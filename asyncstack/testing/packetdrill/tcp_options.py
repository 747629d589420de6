"""TCP options: words of a script to bytes, bytes to words. Apart from wire/tcp.py, so that each checks the other.

A list of words is one option: ["mss", "1460"], ["TS", "val", "1", "ecr", "2"], ["sack", "1:1001", "3001:4001"],
["FO", "abcd1234"], ["ECN", "e1b", "1", "ceb", "0", "e0b", "1"].
"""

from __future__ import annotations

import struct
from typing import Final

from asyncstack.testing.packetdrill.script import ScriptError, UnsupportedError

Words = list[str]

_EOL: Final = 0
_NOP: Final = 1
_MSS: Final = 2
_WSCALE: Final = 3
_SACK_OK: Final = 4
_SACK: Final = 5
_TIMESTAMPS: Final = 8
_FAST_OPEN: Final = 34
_ACC_ECN_0: Final = 172  # RFC 9768: the order is EE0B, ECEB, EE1B
_ACC_ECN_1: Final = 174  # and the other way round
_EXPERIMENT: Final = 254
_FAST_OPEN_MAGIC: Final = 0xF989  # RFC 7413 4.1.1

_COUNTERS: Final = {_ACC_ECN_0: ("e0b", "ceb", "e1b"), _ACC_ECN_1: ("e1b", "ceb", "e0b")}
_MASK: Final = 0xFFFFFFFF

# of a later script line the runner must not make anything up: options of what we do not speak
_UNSUPPORTED: Final = {"md5": "TCP-MD5", "ao": "TCP-AO", "exp-tarr": "the TARR option"}


def encode_options(options: list[Words], sack_offset: int = 0) -> bytes:
    """The option block, filled up to a multiple of 4 bytes. `sack_offset` is added to the edges of SACK blocks."""
    block = b"".join(_encode(words, sack_offset) for words in options)
    if len(block) > 40:
        raise ScriptError(f"{len(block)} bytes of TCP options; a header has room for 40")
    return block + bytes(-len(block) % 4)


def _encode(words: Words, sack_offset: int) -> bytes:
    name, values = words[0], words[1:]
    try:
        if name in ("nop", "eol"):
            return bytes((_NOP if name == "nop" else _EOL,))
        if name == "mss":
            return struct.pack("!BBH", _MSS, 4, int(values[0]))
        if name == "wscale":
            return struct.pack("!BBB", _WSCALE, 3, int(values[0]))
        if name == "sackOK":
            return bytes((_SACK_OK, 2))
        if name == "sack":
            edges = [int(edge) + sack_offset & _MASK for block in values for edge in block.split(":")]
            return struct.pack(f"!BB{len(edges)}I", _SACK, 2 + 4 * len(edges), *edges)
        if name == "TS":
            return struct.pack("!BBII", _TIMESTAMPS, 10, int(values[1]) & _MASK, int(values[3]) & _MASK)
        if name == "FO":
            cookie = bytes.fromhex(values[0]) if values else b""
            return bytes((_FAST_OPEN, 2 + len(cookie))) + cookie
        if name == "FOEXP":
            cookie = bytes.fromhex(values[0]) if values else b""
            return struct.pack("!BBH", _EXPERIMENT, 4 + len(cookie), _FAST_OPEN_MAGIC) + cookie
        if name in ("ECN", "ACCECN"):
            return _encode_acc_ecn(values)
    except (ValueError, IndexError, struct.error) as exc:
        raise ScriptError(f"TCP option <{' '.join(words)}>: {exc}") from exc
    raise UnsupportedError(_UNSUPPORTED.get(name, f"TCP option {name}"))


def _encode_acc_ecn(values: Words) -> bytes:
    names, counters = values[::2], values[1::2]
    kind = _ACC_ECN_1 if names[:1] == ["e1b"] else _ACC_ECN_0
    if tuple(names) != _COUNTERS[kind][: len(names)]:
        raise ValueError(f"the counters are {', '.join(_COUNTERS[kind])}, in this order")
    data = b"".join(int(counter).to_bytes(3, "big") for counter in counters)
    return bytes((kind, 2 + len(data))) + data


def decode_options(block: bytes, sack_offset: int = 0) -> list[Words]:
    """The options in `block`, words as a script has them. What is broken shows as ["broken", hex]."""
    options: list[Words] = []
    at = 0
    while at < len(block):
        kind = block[at]
        if kind in (_NOP, _EOL):
            options.append(["nop" if kind == _NOP else "eol"])
            at += 1
            continue
        length = block[at + 1] if at + 1 < len(block) else 0
        value = block[at + 2 : at + length]
        if length < 2 or len(value) != length - 2:
            return [*options, ["broken", block[at:].hex()]]
        options.append(_decode(kind, value, sack_offset))
        at += length
    return options


def _decode(kind: int, value: bytes, sack_offset: int) -> Words:
    size = len(value)
    if kind == _MSS and size == 2:
        return ["mss", str(int.from_bytes(value, "big"))]
    if kind == _WSCALE and size == 1:
        return ["wscale", str(value[0])]
    if kind == _SACK_OK and size == 0:
        return ["sackOK"]
    if kind == _SACK and size % 8 == 0:
        edges = [str(edge + sack_offset & _MASK) for (edge,) in struct.iter_unpack("!I", value)]
        return ["sack", *(f"{left}:{right}" for left, right in zip(edges[::2], edges[1::2], strict=True))]
    if kind == _TIMESTAMPS and size == 8:
        val, ecr = struct.unpack("!II", value)
        return ["TS", "val", str(val), "ecr", str(ecr)]
    if kind == _FAST_OPEN:
        return ["FO", value.hex()] if value else ["FO"]
    if kind == _EXPERIMENT and value[:2] == _FAST_OPEN_MAGIC.to_bytes(2, "big"):
        return ["FOEXP", value[2:].hex()] if size > 2 else ["FOEXP"]
    if kind in _COUNTERS and size % 3 == 0 and size <= 9:
        counters = [str(int.from_bytes(value[at : at + 3], "big")) for at in range(0, size, 3)]
        pairs = zip(_COUNTERS[kind], counters, strict=False)
        return ["ECN", *(word for pair in pairs for word in pair)]
    return [f"kind-{kind}", value.hex()]


def timestamps(options: list[Words]) -> tuple[int, int] | None:
    """(val, ecr) if the segment has timestamps."""
    for words in options:
        if words[0] == "TS":
            return int(words[2]), int(words[4])
    return None
