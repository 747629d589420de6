"""Frames from one worker to another, and the list of connections that outlives a worker."""

import os

from asyncstack.link.frame import Frame
from asyncstack.workers.flows import CAPACITY, Flows, make_memory
from asyncstack.workers.handover import Handover, make_inbox


def pair() -> tuple[Handover, Handover]:
    inboxes = [make_inbox() for _ in range(2)]
    outboxes = [outbox for _, outbox in inboxes]
    first, second = (Handover(inbox, [one.dup() for one in outboxes]) for inbox, _ in inboxes)
    for outbox in outboxes:
        outbox.close()
    return first, second


def test_a_frame_arrives_with_what_is_known_of_it():
    first, second = pair()
    frame = Frame(memoryview(b"x" * 65535), True, 1460, 34, 16)
    assert first.send(1, frame) and first.send(1, Frame(memoryview(b"y")), offer=True)
    assert second.receive() == (frame, False)
    assert second.receive() == (Frame(memoryview(b"y")), True)
    assert second.receive() is None
    assert first.receive() is None
    first.close()
    second.close()


def test_what_finds_no_room_is_lost():
    """And a datagram that was cut into many fragments finds room."""
    first, second = pair()
    frame = Frame(memoryview(b"x" * 1500))
    sent = 0
    while first.send(1, frame):
        sent += 1
        assert sent < 100_000
    assert sent > 65535 // 1480
    assert second.receive() == (frame, False)
    assert first.send(1, frame)
    first.close()
    second.close()


KEYS = [(b"\x0a\0\0\1", 80, b"\x0a\0\0\2", port) for port in range(100)]
KEY6 = (b"\xfd" + bytes(15), 80, b"\xfd" + bytes(14) + b"\1", 9)


def test_connections_are_known_to_the_next():
    memory = make_memory()
    first = Flows(os.dup(memory))
    assert first.left == []
    for key in (*KEYS, KEY6):
        first.add(key)
    for key in KEYS[10:]:
        first.remove(key)
    first.add(KEYS[50])
    first.close()  # it does not clear anything, nor would death
    second = Flows(os.dup(memory))
    assert sorted(second.left) == sorted([*KEYS[:10], KEY6, KEYS[50]])
    second.close()
    third = Flows(memory)
    assert third.left == []
    third.close()


def test_the_list_is_bounded():
    flows = Flows(make_memory())
    for number in range(CAPACITY + 10):
        flows.add((b"\x0a\0\0\1", 80, number.to_bytes(4, "big"), 9))
    for number in range(CAPACITY + 10):
        flows.remove((b"\x0a\0\0\1", 80, number.to_bytes(4, "big"), 9))
    flows.add(KEY6)
    flows.close()
