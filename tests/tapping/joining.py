"""Files of `packet_taps` as one, of one section: of several, tshark gives the interfaces the names of the first."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
ENHANCED_PACKET: Final = 6


def join(paths: Iterable[Path], joined: Path, test: str | None = None) -> None:
    """Write `joined`: all packets, or those of one test. Raises ValueError where a file ends within a block."""
    with joined.open("wb") as file:
        names: list[str] = []  # of the interfaces
        before = 0  # interfaces before this section
        for path in paths:
            for kind, block in _blocks(path):
                if kind == SECTION_HEADER:
                    before = len(names)
                    if file.tell():
                        continue
                elif kind == INTERFACE_DESCRIPTION:
                    names.append(_name(block))
                elif kind == ENHANCED_PACKET:
                    number = before + struct.unpack_from("<I", block, 8)[0]
                    if test not in (None, names[number]):
                        continue
                    struct.pack_into("<I", block, 8, number)
                file.write(block)


def _name(description: bytearray) -> str:
    """The option that `packet_taps` puts first."""
    _, length = struct.unpack_from("<HH", description, 16)
    return description[20 : 20 + length].decode()


def _blocks(path: Path) -> Iterator[tuple[int, bytearray]]:
    data, position = path.read_bytes(), 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        if position + length > len(data):
            raise ValueError(f"{path} ends within a block")
        yield kind, bytearray(data[position : position + length])
        position += length
