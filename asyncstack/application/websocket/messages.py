"""Data frames to messages (RFC 6455 section 5.4). Sizes and the order of frames are the protocol's to check."""

from __future__ import annotations

from websockets.frames import Frame, Opcode

from asyncstack.application.websocket.queue import Message


class Assembler:
    """Collects the fragments of one message."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._text = False

    def add(self, frame: Frame) -> Message | None:
        """The message that `frame` completes, if it does. Raises UnicodeDecodeError for text that is no UTF-8."""
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        if not frame.fin:
            self._pieces.append(bytes(frame.data))
            return None
        data = bytes(frame.data)
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
        return data.decode() if self._text else data
