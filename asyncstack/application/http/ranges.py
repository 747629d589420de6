"""Parts of a resource (RFC 9110 section 14)."""

from __future__ import annotations

import re

RANGE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")

# A request for more parts than that, or for the same bytes again and again, gets the whole instead.
MAX_RANGES = 16


class Unsatisfiable(Exception):
    """No range of the request touches the resource (416)."""


def parse_ranges(value: str, size: int) -> list[tuple[int, int]] | None:
    """A Range header's value for a resource of `size` bytes: (start, length) of each part, in the order asked for.

    None: the header is to be ignored (another unit, malformed, abusive). Raises Unsatisfiable.
    """
    unit, separator, specs = value.partition("=")
    if not separator or unit.strip().lower() != "bytes":
        return None
    parts: list[tuple[int, int]] = []
    names = [spec.strip(" \t") for spec in specs.split(",")]
    if len(names) > MAX_RANGES:
        return None
    for name in names:
        match = RANGE.fullmatch(name)
        if match is None:
            return None
        first, last = match.groups()
        if not first and not last:
            return None
        if first and last and int(last) < int(first):
            return None
        part = _part(first, last, size)
        if part is not None:
            parts.append(part)
    if not parts:
        raise Unsatisfiable
    if sum(length for _, length in parts) > size:
        return None
    return parts


def _part(first: str, last: str, size: int) -> tuple[int, int] | None:
    """(start, length) of one range, cut to the resource; None if it lies outside."""
    if not first:
        length = min(int(last), size)
        return (size - length, length) if length else None
    start = int(first)
    if start >= size:
        return None
    end = min(int(last), size - 1) if last else size - 1
    return start, end - start + 1


def content_range(start: int, length: int, size: int) -> str:
    """The value of Content-Range for one part."""
    return f"bytes {start}-{start + length - 1}/{size}"
