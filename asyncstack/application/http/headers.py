"""Header fields: an ordered list of (name, value), looked up without regard to case (RFC 9110 section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from asyncstack.application.http.grammar import FIELDS

HeaderSource = Mapping[str, str] | Iterable[tuple[str, str]]


class Headers:
    """The header fields of one message, in the order in which they stand in it.

    A message has a dozen of them, so a scan is cheaper than an index. Values are text in Latin-1, as on the wire.
    """

    __slots__ = ("_items",)

    def __init__(self, source: HeaderSource = ()) -> None:
        self._items: list[tuple[str, str]]
        if not source:
            self._items = []
        elif isinstance(source, (list, Headers)):
            self._items = list(source)
        else:
            self._items = list(source.items() if isinstance(source, Mapping) else source)

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`, or `default`."""
        wanted = name.lower()
        for key, value in self._items:
            if key.lower() == wanted:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        wanted = name.lower()
        return [value for key, value in self._items if key.lower() == wanted]

    def tokens(self, name: str) -> list[str]:
        """The comma-separated members of every `name` field, in lower case (RFC 9110 section 5.6.1)."""
        return [
            token
            for value in self.get_all(name)
            for part in value.split(",")
            if (token := part.strip().lower())
        ]

    def add(self, name: str, value: str) -> None:
        """Append a field; one of the same name stays."""
        self._items.append((name, value))

    def set(self, name: str, value: str) -> None:
        """Append a field, in place of all of the same name."""
        self.remove(name)
        self._items.append((name, value))

    def set_default(self, name: str, value: str) -> None:
        """Append a field unless there is one of that name."""
        if name not in self:
            self._items.append((name, value))

    def remove(self, name: str) -> None:
        """Drop every field of that name."""
        wanted = name.lower()
        self._items = [item for item in self._items if item[0].lower() != wanted]

    def copy(self) -> Headers:
        """An independent list of the same fields."""
        return Headers(self._items)

    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self._items:
            if key.lower() == wanted:
                return value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        self.set(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(key.lower() == name.lower() for key, _ in self._items)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def encode_fields(lines: list[str]) -> bytes:
    """Field lines, each with its CRLF, as they go out. ValueError if one holds more than one field, or none."""
    data = "".join(lines).encode("latin-1")
    if data.count(b"\n") != len(lines) or FIELDS.fullmatch(data) is None:
        raise ValueError("a header holds a line break, a control or a malformed name")
    return data
