"""RFC 9293 3.10 as one table: every state with every event, what it becomes and what is answered.

A cell is "STATE answer": the state after the event, and what is sent because of it: A an acknowledgement, RA or R a
reset, S, SA and FA as in the dialogues, - nothing. "." means that nothing changes and nothing is sent.
LISTEN is the listener's and never lasts in a connection: a SYN takes it to SYN-RECEIVED in one step.
"""

import math

import pytest

from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue, names
from tests.transport.tcp.test_state import REACH as WAYS

REACH = {state: way for state, way in WAYS.items() if state is not State.CLOSED}


def ours(d: Dialogue) -> int:
    """The ACK for everything we have sent."""
    snd = d.connection.sender
    return snd.nxt - snd.queue_start + 1 if d.state is not State.SYN_SENT else 1


def silence(d: Dialogue) -> None:
    """The peer never answers again."""
    for _ in range(200):
        if d.connection.deadline == math.inf:
            return
        d.now = max(d.now, d.connection.deadline)
        d.connection.timer_expired(d.now)
        d.events += [event.value for event in d.connection.events()]
        d.sent.clear()
        while (segment := d.connection.segment_to_send(d.now)) is not None:
            d.sent.append((d.now, segment))
    raise AssertionError("it never ends")


EVENTS = {
    "SYN": lambda d: d.inject("S", seq=max(d.peer_nxt - 1, 0), ack=None),
    "SYN ahead": lambda d: d.inject("S", seq=d.peer_nxt + 100, ack=None),
    "SYN ACK": lambda d: d.inject("SA", seq=max(d.peer_nxt - 1, 0), ack=ours(d)),
    "ACK": lambda d: d.inject("A", ack=ours(d)),
    "ACK unsent": lambda d: d.inject("A", ack=ours(d) + 1000),
    "data": lambda d: d.inject("A", data=b"x" * 10),
    "old data": lambda d: d.inject("A", seq=d.peer_nxt - 10, data=b"x" * 10),
    "FIN": lambda d: d.inject("FA"),
    "FIN, ACK": lambda d: d.inject("FA", ack=ours(d)),
    "RST exact": lambda d: d.inject("R", ack=None),
    "RST ahead": lambda d: d.inject("R", seq=d.peer_nxt + 1, ack=None),
    "RST outside": lambda d: d.inject("R", seq=d.peer_nxt - 1, ack=None),
    "RST ACK": lambda d: d.inject("RA", ack=ours(d)),
    "no ACK flag": lambda d: d.inject("", ack=None, data=b"x"),
    "shutdown": lambda d: (d.connection.shutdown(d.now), d.flush()),
    "close": lambda d: (d.connection.close(d.now), d.flush()),
    "abort": lambda d: (d.connection.abort(d.now), d.flush()),
    "silence": silence,
}


def cell(state: State, event: str) -> str:
    d = REACH[state]()
    d.events.clear()
    EVENTS[event](d)
    if event in ("data", "FIN", "FIN, ACK"):
        d.wait(0.05)  # the acknowledgement may be delayed
    answers = " ".join(names(segment.flags) for _, segment in d.sent) if event != "silence" else ""
    if d.state is state and not answers:
        return "."
    return f"{d.state.value} {answers}".strip()


TABLE = """
event       | SYN-SENT        | SYN-RECEIVED    | ESTABLISHED   | FIN-WAIT-1   | FIN-WAIT-2   | CLOSE-WAIT   | CLOSING     | LAST-ACK   | TIME-WAIT
SYN         | SYN-RECEIVED SA | SYN-RECEIVED SA | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
SYN ahead   | SYN-RECEIVED SA | SYN-RECEIVED A  | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
SYN ACK     | ESTABLISHED A   | ESTABLISHED     | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
ACK         | .               | ESTABLISHED     | .             | FIN-WAIT-2   | .            | .            | TIME-WAIT   | CLOSED     | .
ACK unsent  | SYN-SENT R      | SYN-RECEIVED R  | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
data        | .               | ESTABLISHED A   | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
old data    | .               | SYN-RECEIVED A  | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
FIN         | .               | CLOSE-WAIT A    | CLOSE-WAIT A  | CLOSING A    | TIME-WAIT A  | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | TIME-WAIT A
FIN, ACK    | .               | CLOSE-WAIT A    | CLOSE-WAIT A  | TIME-WAIT A  | TIME-WAIT A  | CLOSE-WAIT A | TIME-WAIT A | CLOSED     | TIME-WAIT A
RST exact   | .               | CLOSED          | CLOSED        | CLOSED       | CLOSED       | CLOSED       | CLOSED      | CLOSED     | .
RST ahead   | .               | SYN-RECEIVED A  | ESTABLISHED A | FIN-WAIT-1 A | FIN-WAIT-2 A | CLOSE-WAIT A | CLOSING A   | LAST-ACK A | .
RST outside | .               | .               | .             | .            | .            | .            | .           | .          | .
RST ACK     | CLOSED          | CLOSED          | CLOSED        | CLOSED       | CLOSED       | CLOSED       | CLOSED      | CLOSED     | .
no ACK flag | .               | .               | .             | .            | .            | .            | .           | .          | .
shutdown    | .               | .               | FIN-WAIT-1 FA | .            | .            | LAST-ACK FA  | .           | .          | .
close       | CLOSED          | .               | FIN-WAIT-1 FA | .            | .            | LAST-ACK FA  | .           | .          | .
abort       | CLOSED          | CLOSED RA       | CLOSED RA     | CLOSED RA    | CLOSED RA    | CLOSED RA    | CLOSED RA   | CLOSED RA  | CLOSED
silence     | CLOSED          | CLOSED          | .             | CLOSED       | .            | .            | CLOSED      | CLOSED     | .
"""  # noqa: E501


def rows(text: str) -> dict[tuple[str, str], str]:
    """{(state, event): cell} of a table with events as rows and states as columns."""
    head, *lines = [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]
    return {(state, line[0]): want for line in lines for state, want in zip(head[1:], line[1:], strict=True)}


CELLS = rows(TABLE)


def test_the_table_is_whole():
    assert set(CELLS) == {(state.value, event) for state in REACH for event in EVENTS}


@pytest.mark.parametrize(("state", "event"), list(CELLS), ids=lambda value: value.replace(" ", "_"))
def test_cell(state, event):
    assert cell(State(state), event) == CELLS[state, event]
