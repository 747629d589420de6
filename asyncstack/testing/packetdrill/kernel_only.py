"""What scripts have that only a kernel has, by how it looks: the grammar leaves it out."""

from __future__ import annotations

import re
from typing import Final

from asyncstack.testing.packetdrill.script import UnsupportedError

_KERNEL_ONLY: Final = {
    r"\bmp_(capable|join|fastclose|tcprst|prio|fail)|\bdss\b|\badd_address|\bmptcp": "MPTCP",
    r"\bmpls\b": "MPLS",
    r"\b(gre|GREv0)\b": "GRE",
    r"[<>]\s*ipv[46]\b": "encapsulation",
    r"\b(scm_sec|SCM_TIMESTAMPING|SO_TIMESTAMPING)\b": "timestamps by cmsg",
    r"\bee_errno\b": "the error queue",
    r"\bmsg_control\b": "control messages",
    r"\{\s*(mut|trun|ins|rep)\s": "mutated packets",
}
_COMMENTS: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def check_supported(text: str) -> None:
    """Raise UnsupportedError if a script, that the grammar did not take, has something of a kernel in it."""
    bare = _COMMENTS.sub("", text)
    for pattern, reason in _KERNEL_ONLY.items():
        if re.search(pattern, bare):
            raise UnsupportedError(reason)
