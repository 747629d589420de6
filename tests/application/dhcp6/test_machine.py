"""Dialogues of the client with servers, as RFC 8415 18.2 has them."""

import math

import pytest

from asyncstack.network.addresses import parse_address
from asyncstack.wire import dhcp6
from asyncstack.wire.dhcp6 import IaAddress, IaNa, Message, Status
from tests.application.dhcp6.dialogue import DNS, DUID, IAID, OTHER, SERVER, START, A, B, Dialogue, lease

WANTED = [dhcp6.DNS_SERVERS, dhcp6.DOMAIN_LIST, dhcp6.SOL_MAX_RT]


@pytest.fixture
def talk():
    return Dialogue()


# solicit


def test_what_a_solicit_says(talk):
    solicit = talk.start().until_said()
    assert START <= talk.now <= START + 1
    expected = Message(
        dhcp6.SOLICIT, solicit.transaction, DUID, b"", [IaNa(IAID)], WANTED, elapsed=0, rapid_commit=True
    )
    assert solicit == expected
    [again] = [message for _, message in talk.wait(1.1)]
    assert (again.transaction, 100 <= again.elapsed <= 110) == (solicit.transaction, True)


def test_the_best_of_those_who_answer_the_first_solicit_is_chosen(talk):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(B))
    talk.hears(dhcp6.ADVERTISE, lease(A), server=OTHER, preference=3)
    assert talk.said() == []
    request = talk.until_said()
    assert (request.type, request.server_id, request.requested) == (dhcp6.REQUEST, OTHER, WANTED)
    assert request.ia_nas == [IaNa(IAID, addresses=[IaAddress(A)])]
    assert talk.now <= START + 2.1


def test_of_equals_the_first_is_chosen(talk):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(A))
    talk.hears(dhcp6.ADVERTISE, lease(B), server=OTHER)
    assert talk.until_said().server_id == SERVER


def test_the_highest_preference_ends_the_choice(talk):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(), preference=255)
    assert [message.type for message in talk.said()] == [dhcp6.REQUEST]


def test_after_the_first_wait_any_server_will_do(talk):
    talk.start().until_said()
    talk.wait(1.2)
    talk.hears(dhcp6.ADVERTISE, lease(), preference=0)
    assert [message.type for message in talk.said()] == [dhcp6.REQUEST]


def test_a_reply_may_commit_at_once(talk):
    talk.start().until_said()
    talk.hears(dhcp6.REPLY, lease())  # without the option it is no answer to a Solicit
    assert (talk.state, talk.counters["dhcp6.ignored"]) == ("SOLICITING", 1)
    talk.hears(dhcp6.REPLY, lease(), rapid_commit=True)
    assert (talk.state, talk.events()) == ("BOUND", [("bound", [A])])


def test_a_commit_that_was_not_asked_for_is_no_answer():
    talk = Dialogue(rapid_commit=False)
    assert talk.start().until_said().rapid_commit is False
    talk.hears(dhcp6.REPLY, lease(), rapid_commit=True)
    assert talk.state == "SOLICITING"


@pytest.mark.parametrize(
    "offer",
    [
        [],
        [IaNa(IAID, status=Status(dhcp6.NO_ADDRS_AVAIL, "empty"))],
        [IaNa(IAID + 1, 50, 80, [IaAddress(A, 100, 200)])],
        [lease(preferred=300)],  # longer than it is valid
        [lease(t1=90, t2=80)],
        [lease(valid=0, preferred=0)],
        *([lease(parse_address(wrong))] for wrong in ("ff02::1", "::", "::1", "fe80::7")),
    ],
)
def test_an_offer_of_nothing_is_no_offer_but_may_say_how_often_to_ask(talk, offer):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, *offer, preference=255, sol_max_rt=60)
    assert (talk.state, talk.said(), talk.counters["dhcp6.no_address"]) == ("SOLICITING", [], 1)
    talk.machine.link_up(talk.now)  # the next Solicit keeps to it
    sent = [when for when, message in talk.wait(2000) if message.type == dhcp6.SOLICIT]
    assert 54 <= sent[-1] - sent[-2] <= 66


@pytest.mark.parametrize("value", [59, 86401])
def test_a_longest_wait_out_of_range_is_ignored(talk, value):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, sol_max_rt=value)
    talk.machine.link_up(talk.now)
    sent = [when for when, _ in talk.wait(20_000)]
    assert sent[-1] - sent[-2] > 3000


@pytest.mark.parametrize(
    "wrong",
    [
        {"transaction": 1},
        {"client_id": SERVER},
        {"client_id": b""},
        {"server": b""},
        {"kind": dhcp6.REQUEST},
        {"kind": dhcp6.RECONFIGURE},
    ],
)
def test_what_is_no_answer_to_us_is_counted(talk, wrong):
    talk.start().until_said()
    kind = wrong.pop("kind", dhcp6.ADVERTISE)
    talk.hears(kind, lease(), preference=255, **wrong)
    talk.machine.receive_message(b"\x02\0\0", talk.now)
    counted = (talk.counters["dhcp6.ignored"], talk.counters["dhcp6.malformed"])
    assert (talk.state, talk.said(), counted) == ("SOLICITING", [], (1, 1))


# request


def test_a_request_is_repeated_ten_times_and_then_all_begins_anew(talk):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(), preference=255)
    talk.said()
    sent = [message.type for _, message in talk.wait(250)]
    assert sent[:9] == [dhcp6.REQUEST] * 9
    assert sent[9] == dhcp6.SOLICIT


@pytest.mark.parametrize("code", [dhcp6.NO_ADDRS_AVAIL, dhcp6.NOT_ON_LINK, dhcp6.NO_BINDING])
@pytest.mark.parametrize("inside", [True, False])
def test_a_refusal_begins_anew(talk, code, inside):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(), preference=255)
    talk.said()
    status = Status(code, "sorry")
    talk.hears(dhcp6.REPLY, IaNa(IAID, status=status if inside else None), status=None if inside else status)
    assert (talk.state, "sorry" in talk.machine.why) == ("SOLICITING", True)
    assert talk.until_said().type == dhcp6.SOLICIT


@pytest.mark.parametrize("code", [dhcp6.UNSPEC_FAIL, dhcp6.USE_MULTICAST])
def test_other_failures_do_not_make_it_ask_more_often(talk, code):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(), preference=255)
    talk.said()
    talk.hears(dhcp6.REPLY, status=Status(code))
    assert (talk.state, talk.said(), talk.events()) == ("REQUESTING", [], [])
    assert talk.until_said().type == dhcp6.REQUEST


@pytest.mark.parametrize("refusal", ["not on link", "taken"])
def test_no_loop_with_a_server_becomes_a_storm(talk, refusal):
    """20 messages in 20 s at most, RFC 8415 14.1, however often what it gives is of no use."""
    talk.start()
    times = []
    while talk.now < START + 300:
        for message in talk.said() or [talk.until_said()]:
            times.append(talk.now)
            if message.type == dhcp6.SOLICIT:
                talk.hears(dhcp6.ADVERTISE, lease(), preference=255)
            elif message.type == dhcp6.DECLINE:
                talk.hears(dhcp6.REPLY)
            elif refusal == "taken":
                talk.hears(dhcp6.REPLY, lease())
                talk.machine.decline(A, talk.now)
            else:
                talk.hears(dhcp6.REPLY, lease(status=Status(dhcp6.NOT_ON_LINK)))
    assert all(later - earlier > 19.99 for earlier, later in zip(times, times[20:], strict=False))
    assert len(times) >= 300  # and goes on trying


def test_what_a_reply_tells(talk):
    talk.start().until_said()
    talk.hears(dhcp6.ADVERTISE, lease(), preference=255)
    talk.said()
    talk.hears(dhcp6.REPLY, lease(A, B), nameservers=[DNS], search=["example.org"])
    assert talk.events() == [("told", [DNS], ["example.org"]), ("bound", [A, B])]
    given = talk.machine.lease.addresses[B]
    assert (given.preferred_until, given.valid_until) == (talk.now + 100, talk.now + 200)


# renew and rebind


def test_renew_at_t1_rebind_at_t2_and_the_end(talk):
    began = talk.bound().now
    sent = talk.wait(300)
    renewals = [(when, message) for when, message in sent if message.type == dhcp6.RENEW]
    rebinds = [(when, message) for when, message in sent if message.type == dhcp6.REBIND]
    assert (renewals[0][0], rebinds[0][0]) == (began + 50, began + 80)
    assert (renewals[0][1].server_id, rebinds[0][1].server_id) == (SERVER, b"")
    for _, message in (*renewals, *rebinds):
        assert message.ia_nas == [IaNa(IAID, addresses=[IaAddress(A)])]
    assert all(when < began + 80 for when, _ in renewals)
    assert all(when < began + 200 for when, _ in rebinds)
    assert talk.events() == [("lost", [A], "its lifetime has ended")]
    later = [message.type for when, message in sent if when >= began + 200]
    assert set(later) == {dhcp6.SOLICIT}


def test_a_renewal_moves_the_times(talk):
    talk.bound()
    assert talk.until_said().type == dhcp6.RENEW
    talk.hears(dhcp6.REPLY, lease(t1=500, t2=800, preferred=1000, valid=2000))
    renewed = talk.now
    assert (talk.state, talk.events(), talk.machine.deadline) == ("BOUND", [("bound", [A])], renewed + 500)
    assert talk.machine.lease.addresses[A].valid_until == renewed + 2000


def test_another_server_answers_a_rebind_and_is_the_one_to_renew_with(talk):
    talk.bound()
    while talk.until_said().type != dhcp6.REBIND:
        pass
    talk.hears(dhcp6.REPLY, lease(), server=OTHER)
    talk.events()
    assert (talk.until_said().server_id, talk.state) == (OTHER, "RENEWING")


def test_a_server_that_has_forgotten_us_is_asked_again(talk):
    talk.bound()
    talk.until_said()
    talk.hears(dhcp6.REPLY, IaNa(IAID, status=Status(dhcp6.NO_BINDING)), server=OTHER)
    [request] = talk.said()
    assert (request.type, request.server_id) == (dhcp6.REQUEST, OTHER)
    assert request.ia_nas[0].addresses == [IaAddress(A)]
    assert talk.events() == []  # it may be used meanwhile
    talk.hears(dhcp6.REPLY, lease(), server=OTHER)
    assert talk.state == "BOUND"


def test_a_renewal_that_says_nothing_of_the_address_is_tried_again(talk):
    talk.bound()
    talk.until_said()
    talk.hears(dhcp6.REPLY)
    assert (talk.state, talk.until_said().type) == ("RENEWING", dhcp6.RENEW)


def test_an_address_is_taken_back_by_a_lifetime_of_zero_and_others_stay(talk):
    talk.bound(lease(A, B))
    talk.until_said()
    gone = IaNa(IAID, 50, 80, [IaAddress(A, 0, 0), IaAddress(B, 100, 200)])
    talk.hears(dhcp6.REPLY, gone)
    assert talk.events() == [("lost", [A], "the server has taken it back"), ("bound", [B])]
    talk.until_said()
    talk.hears(dhcp6.REPLY, IaNa(IAID, 0, 0, [IaAddress(B, 0, 0)]))
    assert ([event[:2] for event in talk.events()], talk.state) == ([("lost", [B])], "SOLICITING")


@pytest.mark.parametrize(
    ("given", "t1", "t2"),
    [
        (lease(t1=0, t2=0), 50, 80),
        (lease(t1=0, t2=0, preferred=0), 100, 160),  # of the valid lifetime
        (lease(t1=0, t2=60), 50, 60),
        (lease(t1=0, t2=20), 20, 20),
        (lease(t1=30, t2=0), 30, 80),
        (lease(t1=90, t2=0), 90, 90),
        (lease(t1=dhcp6.INFINITY, t2=dhcp6.INFINITY), math.inf, math.inf),
        (lease(t1=0, t2=0, preferred=dhcp6.INFINITY, valid=dhcp6.INFINITY), math.inf, math.inf),
        (lease(t1=0, t2=0, preferred=1, valid=1), 1, 1),
    ],
)
def test_t1_and_t2(talk, given, t1, t2):
    """RFC 8415 21.4: what the server leaves open is 0.5 and 0.8 of the preferred lifetime."""
    began = talk.bound(given).now
    assert (talk.machine.lease.t1 - began, talk.machine.lease.t2 - began) == pytest.approx((t1, t2))


def test_a_lease_without_end_needs_no_timer(talk):
    talk.bound(lease(t1=0, t2=0, preferred=dhcp6.INFINITY, valid=dhcp6.INFINITY))
    assert talk.machine.deadline == math.inf


def test_no_more_addresses_are_taken_than_anybody_needs(talk):
    many = [bytes(A[:-1]) + bytes((n,)) for n in range(1, 101)]
    talk.bound(lease(*many))
    assert len(talk.machine.lease.addresses) == 16


# confirm, decline, release


def confirmed(talk):
    talk.bound()
    talk.machine.link_up(talk.now)
    confirm = talk.until_said()
    assert (confirm.type, confirm.server_id, confirm.requested) == (dhcp6.CONFIRM, b"", [])
    assert confirm.ia_nas == [IaNa(IAID, addresses=[IaAddress(A)])]


def test_after_the_link_was_away_the_addresses_are_confirmed(talk):
    confirmed(talk)
    talk.hears(dhcp6.REPLY, status=Status(dhcp6.SUCCESS))
    assert (talk.state, talk.events()) == ("BOUND", [])


def test_addresses_that_do_not_fit_the_link_are_given_up(talk):
    confirmed(talk)
    talk.hears(dhcp6.REPLY, status=Status(dhcp6.NOT_ON_LINK))
    assert ([event[:2] for event in talk.events()], talk.state) == ([("lost", [A])], "SOLICITING")


def test_if_nobody_confirms_they_are_used_as_before(talk):
    confirmed(talk)
    talk.wait(10.5)
    assert (talk.state, talk.events()) == ("BOUND", [])
    assert talk.until_said().type == dhcp6.RENEW


def test_an_address_that_another_has_is_declined_and_another_asked_for(talk):
    talk.bound()
    talk.machine.decline(A, talk.now)
    [decline] = talk.said()
    assert (decline.type, decline.server_id) == (dhcp6.DECLINE, SERVER)
    assert decline.ia_nas == [IaNa(IAID, addresses=[IaAddress(A)])]
    talk.hears(dhcp6.REPLY, status=Status(dhcp6.SUCCESS))
    solicit = talk.until_said()
    assert (solicit.type, solicit.ia_nas) == (dhcp6.SOLICIT, [IaNa(IAID)])


def test_a_decline_is_said_four_times_and_the_other_address_stays(talk):
    talk.bound(lease(A, B))
    talk.machine.decline(A, talk.now)
    sent = [*(message.type for message in talk.said()), *(message.type for _, message in talk.wait(30))]
    assert (sent, talk.state, list(talk.machine.lease.addresses)) == ([dhcp6.DECLINE] * 4, "BOUND", [B])


def test_two_addresses_that_others_have_are_declined_both(talk):
    talk.bound(lease(A, B))
    talk.machine.decline(A, talk.now)
    talk.machine.decline(B, talk.now)
    [_, both] = talk.said()
    assert [one.address for one in both.ia_nas[0].addresses] == [A, B]
    talk.hears(dhcp6.REPLY)
    assert talk.state == "SOLICITING"


def test_release_gives_all_back(talk):
    talk.bound(lease(A, B), nameservers=[DNS])
    talk.machine.release(talk.now)
    assert talk.events() == [("lost", [A, B], "given back")]
    [release] = talk.said()
    assert (release.type, release.server_id) == (dhcp6.RELEASE, SERVER)
    assert release.ia_nas == [IaNa(IAID, addresses=[IaAddress(A), IaAddress(B)])]
    talk.hears(dhcp6.REPLY, status=Status(dhcp6.NO_BINDING))  # whatever it says
    assert (talk.state, talk.machine.deadline) == ("IDLE", math.inf)


def test_release_ends_also_if_nobody_answers(talk):
    talk.bound()
    talk.machine.release(talk.now)
    assert len(talk.said() + talk.wait(30)) == 4
    assert (talk.state, talk.machine.deadline) == ("IDLE", math.inf)


def test_release_without_addresses_says_nothing(talk):
    talk.start().until_said()
    talk.machine.release(talk.now)
    assert (talk.state, talk.said(), talk.machine.deadline) == ("IDLE", [], math.inf)


# without addresses


def test_information_alone():
    talk = Dialogue(stateful=False)
    asked = talk.start().until_said()
    assert (asked.type, asked.ia_nas, asked.rapid_commit) == (dhcp6.INFORMATION_REQUEST, [], False)
    assert asked.requested == [23, 24, dhcp6.INFORMATION_REFRESH, dhcp6.INF_MAX_RT]
    talk.hears(dhcp6.REPLY, nameservers=[DNS], search=["lan"], refresh=700)
    told = talk.now
    assert (talk.events(), talk.state, talk.machine.deadline) == (
        [("told", [DNS], ["lan"])],
        "INFORMED",
        told + 700,
    )
    assert talk.until_said(1000).type == dhcp6.INFORMATION_REQUEST
    talk.hears(dhcp6.REPLY, nameservers=[DNS], search=["lan"])
    assert (talk.events(), talk.machine.deadline) == ([], talk.now + 86400)


@pytest.mark.parametrize(("refresh", "wait"), [(5, 600), (dhcp6.INFINITY, math.inf)])
def test_when_to_ask_again(refresh, wait):
    talk = Dialogue(stateful=False)
    talk.start().until_said()
    talk.hears(dhcp6.REPLY, refresh=refresh)
    assert talk.machine.deadline == talk.now + wait
    talk.machine.link_up(talk.now)
    assert talk.until_said().type == dhcp6.INFORMATION_REQUEST


def test_the_same_seed_says_the_same():
    def transcript(seed):
        return [(when, dhcp6.build(message)) for when, message in Dialogue(seed).start().wait(500)]

    assert transcript(3) == transcript(3) != transcript(4)
