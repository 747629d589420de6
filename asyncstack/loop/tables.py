"""Tables of settings to dataclasses: whatever is not there, or is of another kind, is an error that says where.

The dataclass is the description: its fields are the keys, their types what a value may be. A list of texts may be given
as one text; bytes are given in hexadecimal; what no table can hold (a class) is no value there.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class SettingsError(ValueError):
    """Settings that can not be: the text says where (file and key), what is wrong, and what exists."""


def read_table(kind: type[T], table: object, where: str) -> T:
    """`table` as a `kind`, a dataclass. Raises SettingsError, which begins with `where`."""
    if not isinstance(table, Mapping):
        raise SettingsError(f"{where}: a table is expected here, not {table!r}")
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in names:
            raise SettingsError(f"{where}: unknown key {key!r}; there are {', '.join(sorted(names))}")
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as exc:
        raise exc if isinstance(exc, SettingsError) else SettingsError(f"{where}: {exc}") from None


def _value(hint: Any, value: object, where: str) -> Any:
    """`value` as what `hint` says; of a union, the first part that takes it."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for part in parts:
        found = _part(part, value, where)
        if found is not _OTHER:
            return found
    raise SettingsError(f"{where}: {value!r} is not {' or '.join(filter(None, map(_spelt, parts)))}")


def _part(hint: Any, value: Any, where: str) -> Any:
    """`value` as what `hint` says, or _OTHER."""
    if dataclasses.is_dataclass(hint):
        return read_table(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value if value in arguments else _OTHER
    if origin in (list, Sequence):
        return _list(arguments[0], value, where)
    if origin is tuple:
        if not isinstance(value, list) or len(value) != len(arguments):
            return _OTHER
        return tuple(_value(one, item, where) for one, item in zip(arguments, value, strict=True))
    if origin is dict:
        if not isinstance(value, Mapping):
            return _OTHER
        return {key: _value(arguments[1], item, f"{where}: {key}") for key, item in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint is bytes and isinstance(value, str):
        return _bytes(value, where)
    return value if type(value) is hint else _OTHER


def _list(item: Any, value: Any, where: str) -> Any:
    if item is str and isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return _OTHER
    return [_value(item, one, f"{where} {number}") for number, one in enumerate(value, 1)]


def _bytes(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise SettingsError(f"{where}: {text!r} is no hexadecimal text") from None


def _spelt(hint: Any) -> str:
    """What is to be given for `hint`, in words; "" for what no table can hold."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin in (list, Sequence):
        return "a list"
    if origin is tuple:
        return f"a list of {len(arguments)}"
    if origin is dict:
        return "a table"
    return _WORDS.get(hint, "")


_OTHER = object()  # a value of another kind
_WORDS = types.MappingProxyType(
    {
        str: "a text",
        bytes: "hexadecimal text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
    }
)
