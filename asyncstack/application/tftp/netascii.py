"""The mode "netascii" (RFC 1350 1, RFC 764): a line ends with CR LF, and a CR by itself is CR NUL."""

from __future__ import annotations


def encode(data: bytes) -> bytes:
    """Text of ours for the wire; it may be cut anywhere."""
    return data.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


class Decoder:
    """Text from the wire in pieces; a CR at the end of one waits for the next."""

    def __init__(self) -> None:
        self._pending = b""

    def decode(self, data: bytes) -> bytes:
        """What of the text is complete."""
        data = self._pending + data
        self._pending = data[-1:] if data.endswith(b"\r") else b""
        data = data[: len(data) - len(self._pending)]
        return data.replace(b"\r\n", b"\n").replace(b"\r\0", b"\r")
