"""The neighbour table: RFC 4861's state machine walked as a table, then dialogues, bounds and hostile input."""

import math
import random

import pytest

from asyncstack.counters import Counters
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.neighbors import QUEUE_BYTES, QUEUE_FRAMES, Failed, NeighborTable, Resolved
from asyncstack.link.reachability import State

A, B, C = (bytes((10, 0, 0, n)) for n in (1, 2, 3))
MAC, OTHER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
IPV4 = 0x0800
INCOMPLETE, REACHABLE, STALE = State.INCOMPLETE, State.REACHABLE, State.STALE
DELAY, PROBE, FAILED = State.DELAY, State.PROBE, State.FAILED


class Sender:
    """Waits for an address."""


def make_table(**options):
    counters = Counters()
    options.setdefault("rng", random.Random(1))
    return NeighborTable("arp", counters=counters, **options), counters


def reply(table, mac, now, *, solicited, override=True):
    table.receive_reply(A, mac, now, solicited=solicited, override=override)


def drive(table, state, now=0.0):
    """Bring A into `state` (None: no entry) at about `now`; returns the time."""
    if state is None:
        return now
    if state is STALE:
        table.receive_request(A, MAC, now)
        return now
    table.lookup(A, now)
    if state is INCOMPLETE:
        return now
    if state is FAILED:
        for _ in range(3):
            now = table.deadline
            table.timer_expired(now)
        return now
    reply(table, MAC, now, solicited=True)
    if state is REACHABLE:
        return now
    now += 50  # past any reachable time
    table.lookup(A, now)
    if state is PROBE:
        now = table.deadline
        table.timer_expired(now)
    return now


def state_of(table, address=A):
    entry = table.entries.get(address)
    return None if entry is None else entry.state


EVENTS = {
    "packet to send": lambda t, now: t.lookup(A, now),
    "timer": lambda t, now: t.timer_expired(t.deadline if t.deadline < math.inf else now + 1000),
    "solicited, same MAC": lambda t, now: reply(t, MAC, now, solicited=True, override=False),
    "solicited, no MAC": lambda t, now: reply(t, b"", now, solicited=True, override=False),
    "solicited, other MAC": lambda t, now: reply(t, OTHER, now, solicited=True, override=False),
    "solicited, other MAC, override": lambda t, now: reply(t, OTHER, now, solicited=True),
    "unsolicited, same MAC": lambda t, now: reply(t, MAC, now, solicited=False, override=False),
    "unsolicited, no MAC": lambda t, now: reply(t, b"", now, solicited=False),
    "unsolicited, other MAC": lambda t, now: reply(t, OTHER, now, solicited=False, override=False),
    "unsolicited, other MAC, override": lambda t, now: reply(t, OTHER, now, solicited=False),
    "request, same MAC": lambda t, now: t.receive_request(A, MAC, now),
    "request, other MAC": lambda t, now: t.receive_request(A, OTHER, now),
    "progress above": lambda t, now: t.confirm(A, now),
}

# RFC 4861 appendix C: the state and the MAC afterwards, by event, for every state before
SAME = "same"
STATES = [None, INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED]
EXPECTED = {
    # event                              none           INCOMPLETE     REACHABLE      STALE     DELAY     PROBE
    "packet to send": [INCOMPLETE, SAME, SAME, DELAY, SAME, SAME, INCOMPLETE],
    "timer": [SAME, SAME, SAME, SAME, PROBE, SAME, SAME],
    "solicited, same MAC": [SAME, REACHABLE, REACHABLE, REACHABLE, REACHABLE, REACHABLE, REACHABLE],
    "solicited, no MAC": [SAME, SAME, REACHABLE, REACHABLE, REACHABLE, REACHABLE, SAME],
    "solicited, other MAC": [SAME, REACHABLE, STALE, SAME, SAME, SAME, REACHABLE],
    "solicited, other MAC, override": [SAME, *[REACHABLE] * 6],
    "unsolicited, same MAC": [SAME, STALE, SAME, SAME, SAME, SAME, STALE],
    "unsolicited, no MAC": [SAME, SAME, SAME, SAME, SAME, SAME, SAME],
    "unsolicited, other MAC": [SAME, STALE, STALE, SAME, SAME, SAME, STALE],
    "unsolicited, other MAC, override": [SAME, STALE, STALE, STALE, STALE, STALE, STALE],
    "request, same MAC": [STALE, STALE, SAME, SAME, SAME, SAME, STALE],
    "request, other MAC": [STALE, STALE, STALE, STALE, STALE, STALE, STALE],
    "progress above": [SAME, SAME, REACHABLE, REACHABLE, REACHABLE, REACHABLE, SAME],
}
KEEPS_MAC = {"solicited, other MAC", "unsolicited, other MAC"}  # no override, so only where there was none


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name if state else "none")
def test_the_state_machine_of_rfc_4861(state, event):
    table, _ = make_table()
    now = drive(table, state)
    assert state_of(table) is state
    had_mac = state in (REACHABLE, STALE, DELAY, PROBE)
    EVENTS[event](table, now)
    expected = EXPECTED[event][STATES.index(state)]
    expected = state if expected is SAME else expected
    assert state_of(table) is expected
    if expected in (REACHABLE, STALE, DELAY, PROBE):
        changes = "other MAC" in event and not (had_mac and event in KEEPS_MAC)
        assert table.entries[A].mac == (OTHER if changes else MAC)
    elif expected is not None:
        assert table.entries[A].mac == b""


# dialogues


def test_first_contact():
    table, _ = make_table()
    assert table.lookup(A, 0.0) is None
    assert table.pending
    assert table.solicitations_to_send(0.0) == [(A, None)]
    assert table.lookup(A, 0.5) is None  # no second question for a second packet
    assert table.solicitations_to_send(0.5) == []
    reply(table, MAC, 0.6, solicited=True)
    assert table.events() == [Resolved(A, MAC, [], [])]
    assert table.events() == []
    assert table.lookup(A, 0.7) == MAC
    assert table.deadline == math.inf


def test_a_neighbor_that_does_not_answer_is_asked_three_times():
    table, counters = make_table()
    asked = []
    table.lookup(A, 0.0)
    while table.deadline < math.inf:
        now = table.deadline
        asked += [(now - 1, *question) for question in table.solicitations_to_send(now)]
        table.timer_expired(now)
    assert asked == [(0.0, A, None), (1.0, A, None), (2.0, A, None)]
    assert now == 3.0
    assert table.events() == [Failed(A, [], [])]
    assert counters["arp.failed"] == 1
    # the next packet asks again
    assert table.lookup(A, 10.0) is None
    assert table.solicitations_to_send(10.0) == [(A, None)]


def test_a_timer_called_early_does_nothing():
    table, _ = make_table()
    table.lookup(A, 0.0)
    table.solicitations_to_send(0.0)
    table.timer_expired(0.999)
    assert table.solicitations_to_send(0.999) == []
    assert table.deadline == 1.0


def test_retries_and_their_interval_are_configurable():
    table, _ = make_table(retrans=0.25, solicitations=2)
    table.lookup(A, 0.0)
    table.timer_expired(0.25)
    table.timer_expired(0.5)
    assert state_of(table) is FAILED


def test_an_answer_that_comes_too_late_is_kept_for_the_next_packet():
    table, _ = make_table()
    now = drive(table, FAILED)
    reply(table, MAC, now + 1, solicited=True)
    assert table.lookup(A, now + 2) == MAC


def test_a_quiet_neighbor_is_verified_by_unicast_when_it_is_used_again():
    table, _ = make_table()
    drive(table, REACHABLE)
    table.solicitations_to_send(0.0)
    assert table.deadline == math.inf  # an idle table has no timer
    assert table.lookup(A, 100.0) == MAC  # packets go on meanwhile
    assert (state_of(table), table.deadline) == (DELAY, 105.0)
    assert table.solicitations_to_send(100.0) == []
    table.timer_expired(105.0)
    assert table.solicitations_to_send(105.0) == [(A, MAC)]
    assert table.lookup(A, 105.1) == MAC
    reply(table, MAC, 105.2, solicited=True)
    assert (state_of(table), table.deadline) == (REACHABLE, math.inf)
    assert table.events() == [Resolved(A, MAC, [], [])]  # of the first contact


def test_a_neighbor_that_went_away_is_given_up():
    table, _ = make_table()
    now = drive(table, PROBE)
    table.solicitations_to_send(now)
    table.events()
    for _ in range(2):
        table.timer_expired(table.deadline)
        assert table.solicitations_to_send(now) == [(A, MAC)]
    table.timer_expired(table.deadline)
    assert table.events() == [Failed(A, [], [])]
    assert table.lookup(A, now + 9) is None
    assert table.solicitations_to_send(now + 9) == [(A, None)]  # it may have a new MAC: ask all


def test_progress_above_keeps_a_neighbor_reachable_without_questions():
    table, _ = make_table()
    drive(table, REACHABLE)
    table.solicitations_to_send(0.0)
    for now in range(1, 1000):
        assert table.lookup(A, now) == MAC
        table.confirm(A, now)
    assert state_of(table) is REACHABLE
    assert (table.solicitations_to_send(1000.0), table.deadline) == ([], math.inf)


def test_progress_above_during_the_delay_spares_the_probe():
    table, _ = make_table()
    now = drive(table, DELAY)
    table.confirm(A, now + 1)
    table.timer_expired(now + 5)
    assert (state_of(table), table.deadline) == (REACHABLE, math.inf)


def test_the_reachable_time_is_random_between_half_and_one_and_a_half():
    times = []
    for seed in range(200):
        table, _ = make_table(rng=random.Random(seed))
        drive(table, REACHABLE)
        times.append(table.entries[A].expires)
    assert min(times) >= 15
    assert max(times) <= 45
    assert min(times) < 18
    assert max(times) > 42


def test_a_fresh_mac_is_locked_against_a_second_answer():
    table, counters = make_table(lock_time=1.0)
    drive(table, REACHABLE, now=5.0)
    reply(table, OTHER, 5.9, solicited=False)
    assert table.lookup(A, 5.9) == MAC
    assert state_of(table) is DELAY  # but it will be verified
    assert counters["arp.conflicting_reply"] == 1
    reply(table, OTHER, 6.0, solicited=False)
    assert table.lookup(A, 6.0) == OTHER


# those who wait


def frame(size=100):
    return OutgoingFrame([bytes(size)])


def test_frames_wait_in_order_and_leave_with_the_answer():
    table, _ = make_table()
    table.lookup(A, 0.0)
    first, second = frame(), frame()
    assert table.enqueue(A, first, IPV4)
    assert table.enqueue(A, second, IPV4)
    reply(table, MAC, 0.1, solicited=True)
    [resolved] = table.events()
    assert resolved.frames == [(first, IPV4), (second, IPV4)]
    assert resolved.frames[0][0] is first


@pytest.mark.parametrize("state", [None, REACHABLE, STALE, DELAY, PROBE, FAILED])
def test_nothing_waits_for_what_is_not_being_asked_for(state):
    table, _ = make_table()
    drive(table, state)
    assert not table.enqueue(A, frame(), IPV4)
    assert not table.park(A, Sender())


def test_the_queue_of_an_entry_is_bounded_and_drops_the_oldest():
    table, counters = make_table()
    table.lookup(A, 0.0)
    frames = [frame() for _ in range(QUEUE_FRAMES + 3)]
    for one in frames:
        table.enqueue(A, one, IPV4)
    reply(table, MAC, 0.1, solicited=True)
    [resolved] = table.events()
    assert [kept is one for (kept, _), one in zip(resolved.frames, frames[3:], strict=True)]
    assert resolved.frames[0][0] is frames[3]
    assert counters["arp.queue_dropped"] == 3


def test_the_bytes_in_all_queues_are_bounded():
    table, counters = make_table()
    table.lookup(A, 0.0)
    table.lookup(B, 0.0)
    big = QUEUE_BYTES // 16
    frames = [frame(big) for _ in range(26)]
    for one in frames:
        table.enqueue(A, one, IPV4)
    assert counters["arp.queue_dropped"] == 10
    assert table.enqueue(B, frame(big), IPV4)  # taken care of: dropped, since nothing of B's can give way
    assert counters["arp.queue_dropped"] == 11
    reply(table, MAC, 0.1, solicited=True)
    [resolved] = table.events()
    assert [id(kept) for kept, _ in resolved.frames] == [id(one) for one in frames[10:]]
    table.enqueue(B, frame(big), IPV4)
    assert counters["arp.queue_dropped"] == 11  # the bytes of A's queue were given back


def test_senders_wait_once_each_and_in_order():
    table, _ = make_table()
    table.lookup(A, 0.0)
    senders = [Sender() for _ in range(20)]
    for sender in senders + senders:
        assert table.park(A, sender)
    reply(table, MAC, 0.1, solicited=True)
    # a sender that parks again goes to the end, where it is now
    assert table.events() == [Resolved(A, MAC, [], senders)]


def test_a_sender_that_closes_is_forgotten():
    table, _ = make_table()
    table.lookup(A, 0.0)
    gone, stays = Sender(), Sender()
    table.park(A, gone)
    table.park(A, stays)
    table.unpark(gone)
    table.unpark(gone)  # harmless
    reply(table, MAC, 0.1, solicited=True)
    assert table.events() == [Resolved(A, MAC, [], [stays])]
    table.unpark(stays)  # resolved meanwhile: harmless


def test_a_sender_waits_for_one_address_only():
    table, _ = make_table()
    sender = Sender()
    table.lookup(A, 0.0)
    table.lookup(B, 0.0)
    table.park(A, sender)
    table.park(B, sender)  # its route changed
    reply(table, MAC, 0.1, solicited=True)
    assert table.events() == [Resolved(A, MAC, [], [])]
    table.receive_reply(B, MAC, 0.1, solicited=True)
    assert table.events() == [Resolved(B, MAC, [], [sender])]


def test_failure_reaches_all_who_wait():
    table, _ = make_table()
    table.lookup(A, 0.0)
    sender, one = Sender(), frame()
    table.park(A, sender)
    table.enqueue(A, one, IPV4)
    for _ in range(3):
        table.timer_expired(table.deadline)
    assert table.events() == [Failed(A, [(one, IPV4)], [sender])]


def test_a_request_by_the_neighbor_resolves_it_too():
    table, _ = make_table()
    table.lookup(A, 0.0)
    sender = Sender()
    table.park(A, sender)
    table.receive_request(A, MAC, 0.1)
    assert table.events() == [Resolved(A, MAC, [], [sender])]
    assert (state_of(table), table.deadline) == (STALE, math.inf)


def test_clear_forgets_everything():
    table, _ = make_table()
    sender = Sender()
    table.lookup(A, 0.0)
    table.park(A, sender)
    table.enqueue(A, frame(), IPV4)
    drive(table, None)
    table.clear()
    assert (len(table), table.deadline, table.events(), table.solicitations_to_send(1.0)) == (
        0,
        math.inf,
        [],
        [],
    )
    table.unpark(sender)
    table.timer_expired(100.0)
    assert len(table) == 0


@pytest.mark.parametrize("state", [REACHABLE, STALE, DELAY, PROBE, FAILED])
def test_who_was_found_is_forgotten_on_a_new_link(state):
    table, counters = make_table()
    now = drive(table, state)
    table.solicitations_to_send(now)
    table.forget()
    assert (len(table), table.deadline, counters["arp.evicted"]) == (0, math.inf, 0)
    assert table.lookup(A, now) is None
    assert table.solicitations_to_send(now) == [(A, None)]


def test_who_is_being_asked_for_still_is():
    table, _ = make_table()
    sender = Sender()
    table.lookup(A, 0.0)
    table.park(A, sender)
    table.forget()
    reply(table, MAC, 0.5, solicited=True)
    assert table.events() == [Resolved(A, MAC, [], [sender])]


# bounds and hostile input


def address(number):
    return (0x0A000000 + number).to_bytes(4, "big")


def make_reachable(table, number, now):
    table.lookup(address(number), now)
    table.receive_reply(address(number), MAC, now, solicited=True)


def test_replies_nobody_asked_for_make_no_entries():
    table, counters = make_table()
    for number in range(5000):
        table.receive_reply(address(number), MAC, 0.0, solicited=True)
    assert (len(table), counters["arp.unexpected_reply"]) == (0, 5000)


def test_a_scan_does_not_push_out_neighbors_in_use():
    table, _ = make_table(limit=64)
    for number in range(56):
        make_reachable(table, number, 0.0)
    for number in range(1000, 6000):
        table.lookup(address(number), 1.0)
        assert len(table) <= 64
    assert all(state_of(table, address(number)) is REACHABLE for number in range(56))


def test_forged_requests_push_out_neither_neighbors_nor_questions():
    table, counters = make_table(limit=64)
    table.lookup(address(63), 0.0)
    for number in range(63):
        make_reachable(table, number, 0.0)
    for number in range(1000, 6000):
        table.receive_request(address(number), OTHER, 1.0)
    assert len(table) == 64
    assert all(state_of(table, address(number)) is REACHABLE for number in range(63))
    assert state_of(table, address(63)) is INCOMPLETE
    assert counters["arp.request_not_kept"] == 5000


def test_forged_requests_displace_each_other():
    table, _ = make_table(limit=64)
    for number in range(40):
        make_reachable(table, number, 0.0)
    for number in range(1000, 1100):
        table.receive_request(address(number), OTHER, 1.0)
    assert len(table) == 64
    assert [a for a in table.entries if a >= address(1000)] == [address(n) for n in range(1076, 1100)]


def test_the_least_recently_used_neighbor_goes_when_all_are_in_use():
    table, counters = make_table(limit=16)
    for number in range(16):
        make_reachable(table, number, 0.0)
    for number in range(16):
        if number not in (3, 7):
            table.lookup(address(number), 1.0)
    table.lookup(address(100), 2.0)
    table.lookup(address(101), 2.0)
    expected = [address(number) for number in (*range(16), 100, 101) if number not in (3, 7)]
    assert sorted(table.entries) == expected
    assert counters["arp.evicted"] == 2


def test_two_questions_in_a_full_table_do_not_displace_each_other():
    table, _ = make_table(limit=16)
    for number in range(16):
        make_reachable(table, number, 0.0)
    table.lookup(address(100), 1.0)
    table.lookup(address(101), 1.0)
    assert state_of(table, address(100)) is INCOMPLETE
    assert state_of(table, address(101)) is INCOMPLETE
    assert len(table) == 16


def test_a_table_of_one_still_works():
    table, _ = make_table(limit=1)
    make_reachable(table, 1, 0.0)
    table.lookup(address(2), 0.0)
    table.receive_reply(address(2), MAC, 0.0, solicited=True)
    assert list(table.entries) == [address(2)]
    table.receive_request(address(3), MAC, 0.0)
    assert list(table.entries) == [address(2)]


def test_an_evicted_question_tells_those_who_wait():
    table, counters = make_table(limit=4)
    table.lookup(A, 0.0)
    sender, one = Sender(), frame()
    table.park(A, sender)
    table.enqueue(A, one, IPV4)
    for number in range(100, 104):
        table.lookup(address(number), 0.1)
    assert table.events() == [Failed(A, [(one, IPV4)], [sender], evicted=True)]
    assert counters["arp.evicted"] == 1
    assert not table.park(A, sender)
    table.timer_expired(10.0)  # the evicted entry's timer is dead
    assert all(failed.address != A for failed in table.events())


def test_the_timers_are_bounded_whatever_a_neighbor_claims():
    table, _ = make_table(limit=8)
    table.receive_request(A, MAC, 0.0)
    for step in range(1000):
        now = step * 0.001
        table.lookup(A, now)  # DELAY, with a timer
        table.receive_reply(A, OTHER if step % 2 else MAC, now, solicited=False)  # STALE again
        table.confirm(A, now)
        table.receive_reply(A, MAC if step % 2 else OTHER, now, solicited=False)
    assert len(table._timers) <= 17
    assert table.deadline == math.inf


def test_the_same_inputs_give_the_same_outputs():
    def run(seed):
        table, _ = make_table(rng=random.Random(seed), limit=32)
        script = random.Random(seed + 1)
        log = []
        now = 0.0
        for _ in range(3000):
            now += script.random()
            target = address(script.randrange(60))
            match script.randrange(6):
                case 0 | 1:
                    log.append(table.lookup(target, now))
                case 2:
                    table.receive_reply(target, script.choice((MAC, OTHER)), now, solicited=True)
                case 3:
                    table.receive_request(target, MAC, now)
                case 4:
                    table.enqueue(target, frame(script.randrange(1, 2000)), IPV4)
                case 5:
                    table.confirm(target, now)
            table.timer_expired(now)
            log += table.solicitations_to_send(now)
            log += [repr(event) for event in table.events()]
            log.append(table.deadline)
            assert len(table) <= 32
            assert len(table._unproven) + len(table._in_use) == len(table)
        return log

    assert run(5) == run(5)
    assert run(5) != run(6)
