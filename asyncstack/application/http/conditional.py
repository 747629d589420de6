"""Conditional requests: is what the client has still what we have (RFC 9110 section 13)?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

from asyncstack.application.http.headers import Headers

ENTITY_TAG = re.compile(r'[ \t]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|$)')


@dataclass(slots=True)
class Validators:
    """What identifies a version of a resource: a strong entity tag with its quotes, and Unix seconds."""

    etag: str
    modified: int

    @property
    def last_modified(self) -> str:
        """The value of Last-Modified."""
        return formatdate(self.modified, usegmt=True)


def precondition(request: Headers, current: Validators) -> int:
    """The status that the conditions of a GET or HEAD lead to: 200, 304 or 412 (section 13.2.2)."""
    if "if-match" in request:
        if not _matches(request.get_all("if-match"), current.etag, strong=True):
            return 412
    elif "if-unmodified-since" in request:
        since = _seconds(request["if-unmodified-since"])
        if since is not None and current.modified > since:
            return 412
    if "if-none-match" in request:
        if _matches(request.get_all("if-none-match"), current.etag, strong=False):
            return 304
    elif "if-modified-since" in request:
        since = _seconds(request["if-modified-since"])
        if since is not None and current.modified <= since:
            return 304
    return 200


def range_applies(request: Headers, current: Validators) -> bool:
    """Whether If-Range, if there is one, lets Range count (section 13.1.5): only for the very same version."""
    value = request.get("if-range").strip()
    if not value:
        return True
    if value.startswith(('"', "W/")):
        return _matches([value], current.etag, strong=True)
    return _seconds(value) == current.modified


def _matches(values: list[str], etag: str, *, strong: bool) -> bool:
    for value in values:
        if value.strip() == "*":
            return True
        for weak, tag in ENTITY_TAG.findall(value):
            if tag == etag and not (strong and weak):
                return True
    return False


def _seconds(date: str) -> int | None:
    """Unix seconds of an HTTP date; None if it is none, and then the condition does not count."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
