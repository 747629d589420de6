"""Messages as nobody would write them."""

import struct


def mutated(wire, rng, *, start=0):
    """`wire` with up to 8 changes behind its first `start` bytes: of bytes, of the length, pointers to anywhere."""
    data = bytearray(wire)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
        at = rng.randrange(start, len(data))
        match rng.randrange(6):
            case 0 | 1:
                data[at] = rng.randrange(256)
            case 2:
                del data[at : at + rng.randrange(1, 9)]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                data[at : at + 2] = struct.pack("!H", 0xC000 | rng.randrange(len(data)))
            case 5:
                data = data[: at + 1]
        if len(data) <= start:
            data += bytes(start + 1 - len(data))
    return bytes(data)
