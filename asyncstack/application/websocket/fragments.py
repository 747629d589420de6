"""Messages to send in fragments (RFC 6455 section 5.4)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from asyncstack.application.websocket.queue import Message

Pieces = Iterable[Message] | AsyncIterable[Message]


async def fragments(pieces: Pieces) -> AsyncIterator[tuple[bytes, bool, bool, bool]]:
    """(data, is it text, is it the first, is it the last) of each fragment; at least one.

    A piece is held back until the next is there, since the last fragment is marked as such. Raises TypeError
    unless the pieces are all str or all bytes.
    """
    held: bytes | None = None
    text = False
    first = True
    async for piece in _each(pieces):
        is_text = isinstance(piece, str)
        if held is None:
            text = is_text
        else:
            if is_text != text:
                raise TypeError("the fragments of a message are all str or all bytes")
            yield held, text, first, False
            first = False
        held = piece.encode() if isinstance(piece, str) else bytes(piece)
    yield held or b"", text, first, True


async def _each(pieces: Pieces) -> AsyncIterator[Message]:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece
