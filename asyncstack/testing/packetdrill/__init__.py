"""packetdrill scripts, run in process and in virtual time against a `Stack`.

    from asyncstack.testing.packetdrill import run_file

    result = run_file("tests/conversations/handshake/rfc9293-3.5-passive-open.pkt")
    print(result.outcome, result.reason)

A script says, with times, which system calls a program makes, which packets its peer sends, and which packets the
stack answers with. Everything a script says is checked: results and errnos of calls, when blocking calls return, every
field of every packet, its checksums, when it leaves, and what TCP_INFO says in `%{ ... }%`.

There are three outcomes: `pass`, `fail` with the two lines side by side, and `unsupported` with the reason, for what
only a kernel has.

grammar.py is the language and reader.py makes the records of script.py from it; settings.py answers shell commands;
flow.py maps numbers of the script to those on the wire, tcp_options.py and packets.py build and read packets,
compare.py holds them against each other; calls.py and its neighbours are the system calls; stage.py is the stack with
all that, and runner.py takes the script through.
"""

from __future__ import annotations

from asyncstack.testing.packetdrill.report import Outcome, Result
from asyncstack.testing.packetdrill.runner import run_file, run_text
from asyncstack.testing.packetdrill.script import ScriptError, UnsupportedError

__all__ = ["Outcome", "Result", "ScriptError", "UnsupportedError", "run_file", "run_text"]
