"""One question, as a dialogue: what is sent, what comes back, what time it is."""

import math
import random

import dns.flags
import dns.message
import dns.rrset
import pytest

from asyncstack import DnsConfig
from asyncstack.application.dns.errors import NoAnswer, NoData, NxDomain, ServerFailure
from asyncstack.application.dns.lookup import CHAIN_LIMIT, FORGERIES, NEGATIVE_LIMIT, Lookup
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.records import A
from asyncstack.counters import Counters
from asyncstack.errors import os_error

WEB = ("web.org.", 60, "IN", "A", "10.0.0.1")


def lookup(name="web.org", kind="A", servers=("10.0.0.53", "10.0.1.53"), **settings):
    config = DnsConfig(nameservers=servers, **settings)
    return Lookup(Question(name, kind), config, rng=random.Random(1), counters=Counters())


def sent(machine, now=0.0):
    """(query as it is to be sent, the message in it)."""
    query = machine.query_to_send(now)
    assert machine.query_to_send(now) is None  # once
    return query, dns.message.from_wire(query.data)


def answer(message, *rrsets, rcode=0, authority=(), flags=0):
    made = dns.message.make_response(message)
    made.set_rcode(rcode)
    made.flags |= flags
    made.answer += [dns.rrset.from_text(*rrset) for rrset in rrsets]
    made.authority += [dns.rrset.from_text(*rrset) for rrset in authority]
    return made.to_wire()


def soa(ttl, minimum):
    return ("org.", ttl, "IN", "SOA", f"ns.org. root.org. 1 2 3 4 {minimum}")


def test_a_question_and_its_answer():
    machine = lookup()
    query, message = sent(machine, 10.0)
    assert (query.server, query.stream, machine.deadline, machine.waiting) == ("10.0.0.53", False, 15.0, True)
    machine.receive_message(answer(message, WEB), 10.1)
    assert machine.outcome.records == (A("web.org", 60, "10.0.0.1"),)
    assert (machine.outcome.ttl, machine.deadline, machine.waiting) == (60, math.inf, False)
    machine.receive_message(answer(message, WEB), 10.2)  # a duplicate
    assert machine.query_to_send(10.2) is None


def test_every_query_is_another_one():
    machine = lookup(attempts=20)
    messages = []
    for i in range(20):
        messages.append(sent(machine, 5.0 * i)[1])
        machine.timer_expired(5.0 * i + 5)
    assert len({message.id for message in messages}) == 20
    assert len({message.question[0].name.to_text() for message in messages}) > 15


def test_a_late_answer_does_not_count_for_another_query():
    machine = lookup()
    _, first = sent(machine)
    machine.timer_expired(4.999)
    assert machine.waiting
    machine.timer_expired(5.0)
    query, _ = sent(machine, 5.0)
    assert query.server == "10.0.1.53"
    machine.receive_message(answer(first, WEB), 5.1)
    assert machine.waiting


def test_servers_take_turns_until_all_had_their_attempts():
    machine = lookup(attempts=2, timeout=1.0)
    servers = []
    now = 0.0
    while machine.outcome is None:
        servers.append(sent(machine, now)[0].server)
        now = machine.deadline
        machine.timer_expired(now)
    assert servers == ["10.0.0.53", "10.0.1.53"] * 2
    assert (now, machine.outcome.error) == (4.0, NoAnswer)


def test_without_a_server_there_is_no_answer():
    machine = lookup(servers=())
    assert (machine.query_to_send(0.0), machine.outcome.error) == (None, NoAnswer)


def test_a_failure_outweighs_silence():
    machine = lookup(attempts=1)
    _, message = sent(machine)
    machine.receive_message(answer(message, rcode=2), 0.1)
    sent(machine, 0.1)
    machine.receive_error(os_error(111), 0.2)
    assert machine.outcome.error is ServerFailure
    assert "10.0.1.53: Connection refused" in machine.outcome.why


def test_truncation_asks_the_same_server_over_tcp():
    machine = lookup()
    _, message = sent(machine)
    machine.receive_message(answer(message, WEB, flags=dns.flags.TC), 0.1)
    query, message = sent(machine, 0.1)
    assert (query.server, query.stream, machine.deadline) == ("10.0.0.53", True, 5.1)
    machine.receive_message(answer(message, WEB, flags=dns.flags.TC), 0.2)  # nonsense
    query, _ = sent(machine, 0.2)
    assert (query.server, query.stream) == ("10.0.1.53", False)


def test_a_server_without_edns_is_asked_without_it_from_then_on():
    machine = lookup(servers=["10.0.0.53"])
    for expected in (0, -1):
        query, message = sent(machine)
        assert message.edns == expected
        machine.receive_message(answer(message, rcode=1), 0.1)
    query, message = sent(machine)  # it fails all the same: the next attempt
    assert (query.server, message.edns) == ("10.0.0.53", -1)
    assert lookup(edns_payload=0).query_to_send(0.0).data.count(b"\0\0\x29") == 0


@pytest.mark.parametrize("rcode", [0, 3])
@pytest.mark.parametrize(("authority", "ttl"), [([], 0), ([soa(300, 20)], 20), ([soa(10, 20)], 10)])
def test_absence(rcode, authority, ttl):
    machine = lookup()
    _, message = sent(machine)
    machine.receive_message(answer(message, rcode=rcode, authority=authority), 0.1)
    assert (machine.outcome.error, machine.outcome.ttl) == (NxDomain if rcode else NoData, ttl)


def test_absence_is_remembered_for_three_hours_at_most():
    machine = lookup()
    _, message = sent(machine)
    machine.receive_message(answer(message, rcode=3, authority=[soa(86400, 86400)]), 0.1)
    assert machine.outcome.ttl == NEGATIVE_LIMIT


def test_an_alias_of_what_does_not_exist():
    machine = lookup()
    _, message = sent(machine)
    alias = ("web.org.", 5, "IN", "CNAME", "gone.org.")
    machine.receive_message(answer(message, alias, rcode=3, authority=[soa(60, 60)]), 0.1)
    assert (machine.outcome.error, machine.outcome.ttl) == (NxDomain, 5)
    assert "gone.org does not exist" in machine.outcome.why


def test_an_alias_is_followed_in_one_answer_or_in_several():
    machine = lookup()
    _, message = sent(machine)
    machine.receive_message(
        answer(message, ("b.org.", 9, "IN", "CNAME", "c.org."), ("web.org.", 60, "IN", "CNAME", "B.org.")),
        0.1,
    )
    query, message = sent(machine, 0.1)
    assert (query.server, message.question[0].name.to_text().lower()) == ("10.0.0.53", "c.org.")
    machine.receive_message(answer(message, ("c.org.", 60, "IN", "A", "10.0.0.3")), 0.2)
    assert (machine.outcome.records, machine.outcome.ttl) == ((A("c.org", 60, "10.0.0.3"),), 9)


def test_aliases_that_lead_round():
    machine = lookup()
    _, message = sent(machine)
    loop = [("web.org.", 60, "IN", "CNAME", "b.org."), ("b.org.", 60, "IN", "CNAME", "web.org.")]
    machine.receive_message(answer(message, *loop), 0.1)
    assert machine.outcome.error is ServerFailure
    machine = lookup()
    for i in range(CHAIN_LIMIT + 1):
        _, message = sent(machine, float(i))
        name = message.question[0].name.to_text()
        machine.receive_message(answer(message, (name, 60, "IN", "CNAME", f"n{i}.org.")), float(i))
    assert machine.outcome.error is ServerFailure


def test_records_of_other_names_do_not_count():
    """An answer may say only what was asked."""
    machine = lookup()
    _, message = sent(machine)
    bank = ("bank.org.", 60, "IN", "A", "6.6.6.6")
    machine.receive_message(answer(message, bank), 0.1)
    assert machine.outcome.error is NoData
    machine = lookup()
    _, message = sent(machine)
    machine.receive_message(answer(message, bank, WEB), 0.1)
    assert machine.outcome.records == (A("web.org", 60, "10.0.0.1"),)


def test_so_many_forgeries_and_the_question_goes_over_tcp():
    machine = lookup()
    _, message = sent(machine)
    for ident in range(FORGERIES):
        assert machine.waiting
        message.id = ident
        machine.receive_message(answer(message, ("web.org.", 60, "IN", "A", "6.6.6.6")), 0.1)
    query, message = sent(machine, 0.2)
    assert (query.server, query.stream) == ("10.0.0.53", True)
    machine.receive_message(answer(message, WEB), 0.3)
    assert machine.outcome.records[0].address == "10.0.0.1"


def test_a_stream_that_carries_nonsense():
    machine = lookup()
    _, message = sent(machine)
    machine.receive_message(answer(message, flags=dns.flags.TC), 0.1)
    sent(machine, 0.1)
    machine.receive_message(b"nonsense", 0.2)
    query, _ = sent(machine, 0.2)
    assert (query.server, query.stream) == ("10.0.1.53", False)
