"""Which handler answers a path: fixed paths by a dict, patterns in the order in which they were added."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from asyncstack.application.http.errors import HttpError

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?\}")
CONVERTERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^/]+", str),
    "int": (r"[0-9]{1,18}", int),
    "path": (r".*", str),
}


@dataclass(slots=True)
class WebSocketRoute:
    """A WebSocket handler and what it agrees to; `options` are the arguments of `WebSocket`."""

    handler: Callable[..., Any]
    subprotocols: tuple[str, ...] = ()
    origins: tuple[str | None, ...] | None = None  # None: any; a None inside: also no Origin header at all
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Route:
    """What stands at one path: a handler for each method, or a WebSocket handler, or both."""

    path: str
    methods: dict[str, Any] = field(default_factory=dict)  # "*" answers every method
    body_sizes: dict[str, int] = field(default_factory=dict)
    websocket: WebSocketRoute | None = None

    def handler(self, method: str) -> Any:
        """The handler for `method`; HEAD falls back to GET's. None if there is none."""
        handler = self.methods.get(method)
        if handler is None and method == "HEAD":
            handler = self.methods.get("GET")
        return handler if handler is not None else self.methods.get("*")

    def allow(self) -> str:
        """The value of the Allow header."""
        if "*" in self.methods:
            return "GET, HEAD, OPTIONS"
        names = {*self.methods, "OPTIONS"}
        if "GET" in names:
            names.add("HEAD")
        if self.websocket is not None:
            names.add("GET")
        return ", ".join(sorted(names))


class _Pattern:
    """A path with placeholders: `{name}` for one segment, `{name:int}`, `{name:path}` for the rest."""

    def __init__(self, path: str) -> None:
        expression, end = "", 0
        self.converters: dict[str, Callable[[str], Any]] = {}
        for match in PLACEHOLDER.finditer(path):
            name, kind = match[1], match[2] or "str"
            if kind not in CONVERTERS:
                raise ValueError(f"route {path!r}: {kind!r} is no converter, use one of {sorted(CONVERTERS)}")
            if name in self.converters:
                raise ValueError(f"route {path!r}: {name!r} occurs twice")
            part, self.converters[name] = CONVERTERS[kind]
            expression += re.escape(path[end : match.start()]) + f"(?P<{name}>{part})"
            end = match.end()
        self.expression = re.compile(expression + re.escape(path[end:]), re.DOTALL)

    def match(self, path: str) -> dict[str, Any] | None:
        found = self.expression.fullmatch(path)
        if found is None:
            return None
        return {name: convert(_decode(found[name])) for name, convert in self.converters.items()}


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise HttpError(400, "the path is no UTF-8") from None


class Router:
    """Routes by path. Patterns see the encoded path, so that an encoded slash is part of its segment."""

    def __init__(self) -> None:
        self._fixed: dict[str, Route] = {}
        self._patterns: list[tuple[_Pattern, Route]] = []

    def route(self, path: str) -> Route:
        """The route of exactly that path or pattern, made if it is new."""
        if not path.startswith("/"):
            raise ValueError(f"route {path!r}: a path starts with /")
        if "{" not in path:
            return self._fixed.setdefault(path, Route(path))
        for _, route in self._patterns:
            if route.path == path:
                return route
        route = Route(path)
        self._patterns.append((_Pattern(path), route))
        return route

    def find(self, raw_path: str) -> tuple[Route, dict[str, Any]] | None:
        """The route for a path as received and the values of its placeholders."""
        route = self._fixed.get(raw_path)
        if route is None and "%" in raw_path and "%2f" not in raw_path.lower():
            route = self._fixed.get(_decode(raw_path))
        if route is not None:
            return route, {}
        for pattern, route in self._patterns:
            params = pattern.match(raw_path)
            if params is not None:
                return route, params
        return None
