"""The language of the scripts, for lark.

Line breaks mean nothing: an event begins with its time and ends where the next time begins. The lexer looks at what may
come next, so that `.5` is a time here and the flags of a segment there.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from lark import Lark

GRAMMAR: Final = r"""
script: OPTION* COMMAND? event+ COMMAND*

event: when action
?action: packet | call | COMMAND -> command | CODE -> code

when: "+" NUMBER                      -> relative
    | NUMBER                          -> absolute
    | "*"                             -> whenever
    | NUMBER "~" NUMBER               -> absolute_range
    | "+" NUMBER "~" "+" NUMBER       -> relative_range

// packets

packet: direction [ip_words] body
direction: "<" -> inbound | ">" -> outbound
ip_words: ("(" | "[") ip_word ("," ip_word)* (")" | "]")
ip_word: ECN | "tos" _number -> tos | "ttl" _number -> ttl | "flowlabel" _number -> flow_label
_number: NUMBER | HEX

?body: tcp | udp | icmp
tcp: [ports] FLAGS range [ack] [window] [urgent] [options]
udp: "udp" [ports] "(" NUMBER ")"
icmp: "icmp" WORD [WORD] [mtu] [ident] [quote]

ports: NUMBER ">" NUMBER
range: NUMBER ":" NUMBER "(" NUMBER ")"
ack: "ack" NUMBER
window: "win" NUMBER -> window
      | "win" NUMBER "~" NUMBER -> window_range
      | "win" ("*" | ELLIPSIS) -> window_any
urgent: "urg" NUMBER
options: "<" option ("," option)* ">" | "<" ELLIPSIS ">" -> any_options
option: ATOM+
mtu: "mtu" NUMBER
ident: "id" NUMBER
quote: "[" range "]" | "[" "udp" "(" NUMBER ")" "]" -> quote_udp | "[" "raw" "(" NUMBER ")" "]" -> quote_raw

// system calls

call: [end] WORD "(" arguments ")" "=" result [errno] [NOTE]
result: NUMBER -> single | HEX -> single | ELLIPSIS -> dots | constant | constant ("|" constant)+ -> either
constant: WORD -> word
end: ELLIPSIS NUMBER
errno: WORD
arguments: [_items]
_items: _item ("," _item)*
_item: _value | pair
pair: (WORD | applied) "=" _value
_value: single | either
either: single ("|" single)+
single: NUMBER | HEX | WORD -> word | strings | ELLIPSIS -> dots | array | struct | applied
strings: STRING+ ELLIPSIS?
array: "[" [_items] "]"
struct: "{" [_items] "}"
applied: WORD "(" [_items] ")"

OPTION: /--[\w-]+(=("[^"]*"|`[^`]*`|[^\s"`])+)?/
COMMAND: /`[^`]*`/
CODE: /%\{(.|\n)*?\}%/
NUMBER: /-?(\d+(\.\d+)?|\.\d+)(?![\w])/
HEX: /0x[0-9a-fA-F]+/
ECN.2: /noecn|ect01|ect0|ect1|ce/
FLAGS.2: /([A-Z]+[0-7]?(\.[0-7]?)?|[0-7]?\.[0-7]?|-)(?=[\s])/
ELLIPSIS.3: "..."
ATOM: /[0-9A-Za-z_\[\]=#*:.+-]+/
WORD: /[A-Za-z_]\w*/
STRING: /"(\\.|[^"\\])*"/
NOTE: /\([^()]*\)/

COMMENT: /\/\/[^\n]*/ | /\/\*(.|\n)*?\*\//
SPACE: /[ \t\r\n]+/
%ignore COMMENT
%ignore SPACE
"""


@cache
def parser() -> Lark:
    """The parser; made once, at first use."""
    return Lark(GRAMMAR, start="script", parser="lalr", propagate_positions=True, maybe_placeholders=True)
