"""From the text of a script to its records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lark import Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, VisitError

from asyncstack.testing.packetdrill.grammar import parser
from asyncstack.testing.packetdrill.kernel_only import check_supported
from asyncstack.testing.packetdrill.script import (
    DOTS,
    Applied,
    CallLine,
    Clock,
    CodeLine,
    CommandLine,
    Either,
    Event,
    IcmpLine,
    IpWords,
    PacketLine,
    Pair,
    Script,
    ScriptError,
    Struct,
    TcpLine,
    UdpLine,
    UnsupportedError,
    When,
    Word,
)

# the cookie of the peer's address by the key of `defaults.sh`, as the public suites' own runner defines it
_DEFINED: Final = {"TFO_COOKIE": "3021b9d889017eeb"}


def read_script(text: str, defined: Mapping[str, str] | None = None) -> Script:
    """The records of `text`, where the words that are `defined` mean something.

    Raises ScriptError with the line, UnsupportedError.
    """
    try:
        tree = parser().parse(text)
        script: Script = _Records(text, defined or {}).transform(tree)
        return script
    except UnexpectedInput as exc:
        check_supported(text)
        line = text.splitlines()[exc.line - 1].strip() if 0 < exc.line <= text.count("\n") + 1 else ""
        raise ScriptError(f"line {exc.line}, column {exc.column}: not understood: {line}") from exc
    except VisitError as exc:
        raise exc.orig_exc from exc


def _number(token: str | None) -> int:
    return 0 if token is None else int(token, 0)


@v_args(inline=True)
class _Records(Transformer[Token, Any]):
    """Called from the leaves up, with what the children became."""

    def __init__(self, text: str, defined: Mapping[str, str]) -> None:
        super().__init__()
        self._text = text
        own = re.findall(r"^\s*--define=(\S+=\S+)", text, re.MULTILINE)
        self._defined = _DEFINED | dict(value.split("=", 1) for value in own) | dict(defined)

    def script(self, *parts: Any) -> Script:
        script = Script()
        for part in parts:
            if isinstance(part, Event):
                script.events.append(part)
            elif isinstance(part, Token) and part.type == "OPTION":
                name, _, value = part[2:].partition("=")
                script.options.append((name, value.strip('"')))
            elif part is not None and not script.events:
                when = When(Clock.ABSOLUTE)
                script.init.append(Event(part.line or 0, when, CommandLine(part[1:-1]), str(part)))
        return script

    @v_args(inline=False, meta=True)
    def event(self, meta: Any, children: list[Any]) -> Event:
        when, action = children
        source = " ".join(self._text[meta.start_pos : meta.end_pos].split())
        return Event(meta.line, when, action, source)

    # times

    def absolute(self, start: str) -> When:
        return When(Clock.ABSOLUTE, float(start), float(start))

    def relative(self, start: str) -> When:
        return When(Clock.RELATIVE, float(start), float(start))

    def whenever(self) -> When:
        return When(Clock.ANY)

    def absolute_range(self, start: str, end: str) -> When:
        return When(Clock.ABSOLUTE, float(start), float(end))

    def relative_range(self, start: str, end: str) -> When:
        return When(Clock.RELATIVE, float(start), float(end))

    def end(self, _: str, time: str) -> float:
        return float(time)

    # packets

    def inbound(self) -> bool:
        return False

    def outbound(self) -> bool:
        return True

    def packet(self, outbound: bool, ip: IpWords | None, body: tuple[Any, Any]) -> PacketLine:
        ports, line = body
        return PacketLine(outbound, ip or IpWords(), ports, line)

    def ip_words(self, *words: tuple[str, Any]) -> IpWords:
        return IpWords(**dict(words))

    def ip_word(self, token: str) -> tuple[str, Any]:
        return "ecn", str(token)

    def tos(self, token: str) -> tuple[str, Any]:
        return "tos", _number(token)

    def ttl(self, token: str) -> tuple[str, Any]:
        return "ttl", _number(token)

    def flow_label(self, token: str) -> tuple[str, Any]:
        return "flow_label", _number(token)

    def ports(self, source: str, destination: str) -> tuple[int, int]:
        return int(source), int(destination)

    def range(self, start: str, end: str, length: str) -> tuple[int, int]:
        if int(start) + int(length) != int(end):
            raise ScriptError(f"{start}:{end}({length}): the end is not the start plus the length")
        return int(start), int(length)

    def tcp(
        self,
        ports: tuple[int, int] | None,
        flags: str,
        span: tuple[int, int],
        ack: int | None,
        window: tuple[int, int] | None,
        urgent: int | None,
        options: list[list[str]] | str | None,
    ) -> tuple[Any, TcpLine]:
        ace = "".join(filter(str.isdigit, flags))
        letters = flags.strip("-").translate(str.maketrans("", "", ".01234567"))
        dot = "." if "." in flags else ""
        if set(letters) - set("FSRPUEWAC") or len(ace) > 1:
            raise ScriptError(f"unknown flags {flags}")
        listed = None if options == "..." else options or []
        line = TcpLine(
            letters + dot,
            int(ace) if ace else None,
            *span,
            ack,
            window,
            urgent or 0,
            listed,  # type: ignore[arg-type]
        )
        return ports, line

    def ack(self, number: str) -> int:
        return int(number)

    def urgent(self, number: str) -> int:
        return int(number)

    def window(self, number: str) -> tuple[int, int]:
        return int(number), int(number)

    def window_range(self, least: str, most: str) -> tuple[int, int]:
        return int(least), int(most)

    def window_any(self, *_: str) -> None:
        return None

    def options(self, *options: list[str]) -> list[list[str]]:
        return list(options)

    def any_options(self, _: str) -> str:
        return "..."

    def option(self, *words: str) -> list[str]:
        return [self._defined.get(word, str(word)) for word in words]

    def udp(self, ports: tuple[int, int] | None, length: str) -> tuple[Any, UdpLine]:
        return ports, UdpLine(int(length))

    def icmp(
        self,
        kind: str,
        code: str | None,
        mtu: int | None,
        ident: int | None,
        quote: tuple[str, int, int] | None,
    ) -> tuple[Any, IcmpLine]:
        named = self._defined.get(code or "", code or "")
        return None, IcmpLine(str(kind), str(named), mtu or 0, *(quote or ("", 0, 0)))

    def mtu(self, number: str) -> int:
        return int(number)

    def ident(self, number: str) -> int:
        return int(number)

    def quote(self, span: tuple[int, int]) -> tuple[str, int, int]:
        return "tcp", *span

    def quote_udp(self, length: str) -> tuple[str, int, int]:
        return "udp", 0, int(length)

    def quote_raw(self, length: str) -> tuple[str, int, int]:
        raise UnsupportedError("raw sockets")

    # system calls

    def call(
        self,
        end: float | None,
        name: str,
        arguments: list[Any],
        result: Any,
        errno: str | None,
        _: str | None,
    ) -> CallLine:
        return CallLine(str(name), arguments, result, errno or "", end)

    def errno(self, name: str) -> str:
        return str(name)

    def arguments(self, *items: Any) -> list[Any]:
        return list(items) if items != (None,) else []

    def single(self, value: Any) -> Any:
        return int(value, 0) if isinstance(value, Token) else value

    def word(self, name: str) -> Any:
        value = self._defined.get(name)
        if value is None:
            return Word(str(name))
        return value[1:-1] if value[0] in "\"'" else int(value, 0) if value[0].isdigit() else Word(value)

    def dots(self, _: str) -> Any:
        return DOTS

    def either(self, *parts: Any) -> Either:
        return Either(list(parts))

    def strings(self, *parts: Token) -> bytes:
        texts = [str(part)[1:-1] for part in parts if part.type == "STRING"]
        return "".join(texts).encode().decode("unicode_escape").encode("latin-1")

    def array(self, *items: Any) -> list[Any]:
        return self.arguments(*items)

    def struct(self, *items: Any) -> Struct:
        return Struct(self.arguments(*items))

    def pair(self, name: Any, value: Any) -> Pair:
        return Pair(name.name if isinstance(name, Applied) else str(name), value)

    def applied(self, name: str, *items: Any) -> Applied:
        return Applied(str(name), self.arguments(*items))

    # the rest

    def command(self, text: str) -> CommandLine:
        return CommandLine(text[1:-1])

    def code(self, text: str) -> CodeLine:
        return CodeLine(text[2:-2])
