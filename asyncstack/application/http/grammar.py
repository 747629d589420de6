"""The grammar of a message's head, as what is allowed (RFC 9110 section 5, RFC 9112 sections 3 and 5).

Everything that is not allowed is refused: a parser that repairs what it reads sees another message than the
proxy in front of it, and that is what request smuggling lives on. How much httptools repairs differs from
release to release, so nothing is left to it.
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"

# No bare CR, bare LF, NUL or other control in a value, no space before the colon, no folded line.
FIELD_LINE = TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*+\r\n"
FIELDS = re.compile(rb"(?:" + FIELD_LINE + rb")*+")

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])\r\n")
STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*+))?\r\n")

# Ends the wait for an empty line that will not come: a line that a bare LF ends, or bytes that can not stand in
# a head at all (TLS sent to a plain port, say).
HOPELESS = re.compile(rb"[^\r]\n|^\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[^\x00-\x08\x0a-\x1f\x7f]*+)?")

# uri-host [":" port]: a name, an IPv4 address or an IPv6 one in brackets (RFC 3986 section 3.2.2); may be empty.
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*+)(?::[0-9]{0,5})?")
ABSOLUTE_FORM = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]++)([/?][^#]*+)?")
AUTHORITY_FORM = re.compile(rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9\-._~]++):[0-9]{1,5}")
