"""What a host tells routers of its groups, and when: the machine of IGMP and MLD, in dialogues."""

import math
import random

import pytest

from asyncstack.network.addresses import parse_address as A
from asyncstack.network.groups import ANY_SOURCE, NO_SOURCE
from asyncstack.network.reporting import GAP, MOST_SOURCES, Reporter
from asyncstack.wire.membership import Kind, Membership, Query, Record, Report, Version
from tests.network.test_groups import but, only

GROUP, OTHER, LOCAL = A("239.1.2.3"), A("239.1.2.4"), A("224.0.0.251")
ALL = bytes(4)


class Router:
    """What it hears of one host, with the time; and what it asks."""

    def __init__(self, seed=1):
        self.reporter = Reporter(random.Random(seed), lambda group: group != LOCAL)
        self.now = 1000.0
        self.listening = {}

    def host(self, group, wanted):
        """The host listens to `group` like this from now on; what it says at once."""
        before = self.listening.get(group, NO_SOURCE)
        self.listening[group] = wanted
        self.reporter.changed(group, before, wanted, self.now)
        return self.said()

    def ask(self, version=Version.THIRD, group=ALL, within=10.0, *sources, **fields):
        sources = tuple(A(f"10.0.0.{source}") for source in sources)
        self.reporter.receive_query(Query(version, group, within, sources, **fields), self.now)
        return self.said()

    def said(self):
        found = []
        for told in self.reporter.to_send():
            found += told.records if isinstance(told, Report) else [told]
        return found

    def wait(self, seconds):
        """What is said meanwhile, with when."""
        until, found = self.now + seconds, []
        while self.reporter.deadline <= until:
            self.now = max(self.now, self.reporter.deadline)
            self.reporter.timer_expired(self.now)
            found += [(self.now, message) for message in self.said()]
        self.now = until
        return found

    def hear(self, seconds):
        """`wait`, without the times."""
        return [message for _, message in self.wait(seconds)]


def record(kind, group=GROUP, *sources):
    return Record(kind, group, tuple(A(f"10.0.0.{source}") for source in sources))


@pytest.fixture
def router():
    return Router()


@pytest.fixture
def quiet():
    """A host in GROUP that has said so."""
    router = Router()
    router.host(GROUP, ANY_SOURCE)
    router.wait(10)
    return router


# changes, RFC 3376 5.1


def test_a_change_is_told_at_once_and_once_more(router):
    assert router.host(GROUP, ANY_SOURCE) == [record(Kind.TO_EXCLUDE)]
    start = router.now
    ((when, again),) = router.wait(60)
    assert again == record(Kind.TO_EXCLUDE)
    assert start < when <= start + 1
    assert router.reporter.deadline == math.inf


@pytest.mark.parametrize(
    "before, after, told",
    [
        (only(1, 2), only(2, 3), [record(Kind.ALLOW, GROUP, 3), record(Kind.BLOCK, GROUP, 1)]),
        (but(1, 2), but(2, 3), [record(Kind.ALLOW, GROUP, 1), record(Kind.BLOCK, GROUP, 3)]),
        (only(1), but(2), [record(Kind.TO_EXCLUDE, GROUP, 2)]),
        (but(1), only(2), [record(Kind.TO_INCLUDE, GROUP, 2)]),
        (NO_SOURCE, only(1), [record(Kind.ALLOW, GROUP, 1)]),
        (only(1), NO_SOURCE, [record(Kind.BLOCK, GROUP, 1)]),
        (NO_SOURCE, ANY_SOURCE, [record(Kind.TO_EXCLUDE)]),
        (ANY_SOURCE, NO_SOURCE, [record(Kind.TO_INCLUDE)]),
    ],
)
def test_rfc3376_5_1_what_is_told_of_a_change(router, before, after, told):
    router.host(GROUP, before)
    router.wait(10)
    assert router.host(GROUP, after) == told
    assert router.hear(10) == told


def test_a_second_change_is_told_with_what_is_left_of_the_first(router):
    router.host(GROUP, ANY_SOURCE)
    router.host(GROUP, but(1))  # within the gap: not by itself
    assert router.hear(GAP) == [record(Kind.TO_EXCLUDE, GROUP, 1)]
    assert router.hear(10) == [record(Kind.BLOCK, GROUP, 1)]


def test_several_changes_leave_in_one_report(router):
    router.host(GROUP, ANY_SOURCE)
    for number in range(100):
        assert router.host(A(f"239.2.2.{number}"), ANY_SOURCE) == []
    told = router.hear(GAP)
    assert len(told) == 101
    assert {each.group for each in told} >= {A("239.2.2.99"), GROUP}


def test_joining_and_leaving_quickly_costs_no_more_than_a_report_each_gap(router):
    batches = 0
    for _ in range(1000):
        for wanted in (ANY_SOURCE, NO_SOURCE):
            batches += bool(router.host(GROUP, wanted))
        router.now += 0.001
        batches += bool(router.hear(0))
    assert batches <= 1 + 1 / GAP


def test_groups_of_the_link_are_not_told(router):
    assert router.host(LOCAL, ANY_SOURCE) == []
    router.ask(within=1.0)
    assert router.hear(100) == []


def test_the_querier_says_how_often(router):
    router.ask(robustness=4)
    router.host(GROUP, ANY_SOURCE)
    assert router.hear(60).count(record(Kind.TO_EXCLUDE)) == 3


# queries, RFC 3376 5.2


def test_a_general_query_is_answered_for_all_groups_in_time(quiet):
    quiet.host(OTHER, only(1))
    quiet.wait(10)
    start = quiet.now
    assert quiet.ask(within=5.0) == []
    answers = quiet.wait(5)
    assert [message for _, message in answers] == [record(Kind.IS_EXCLUDE), record(Kind.IS_INCLUDE, OTHER, 1)]
    assert all(start < when <= start + 5 for when, _ in answers)
    assert quiet.reporter.deadline == math.inf


def test_answers_are_spread_over_the_time_there_is():
    times = []
    for seed in range(200):
        router = Router(seed)
        router.host(GROUP, ANY_SOURCE)
        router.wait(10)
        start = router.now
        router.ask(within=10.0)
        times += [when - start for when, _ in router.wait(10)]
    assert min(times) < 1 and max(times) > 9
    assert 4 < sum(times) / len(times) < 6


def test_a_query_about_one_group(quiet):
    quiet.host(OTHER, ANY_SOURCE)
    quiet.wait(10)
    quiet.ask(Version.THIRD, OTHER, 1.0)
    assert quiet.hear(1) == [record(Kind.IS_EXCLUDE, OTHER)]
    quiet.ask(Version.THIRD, A("239.9.9.9"), 1.0)
    assert quiet.hear(100) == []


@pytest.mark.parametrize(
    "wanted, asked, answer",
    [
        (only(1, 2), (2, 3), [record(Kind.IS_INCLUDE, GROUP, 2)]),
        (but(1, 2), (2, 3), [record(Kind.IS_INCLUDE, GROUP, 3)]),
        (only(1, 2), (3,), []),
        (but(3), (3,), []),
        (ANY_SOURCE, (3,), [record(Kind.IS_INCLUDE, GROUP, 3)]),
    ],
)
def test_a_query_about_sources(router, wanted, asked, answer):
    router.host(GROUP, wanted)
    router.wait(10)
    router.ask(Version.THIRD, GROUP, 1.0, *asked)
    assert router.hear(10) == answer


def test_queries_about_one_group_are_answered_together(quiet):
    quiet.ask(Version.THIRD, GROUP, 1.0, 1)
    quiet.ask(Version.THIRD, GROUP, 1.0, 2)
    assert quiet.hear(10) == [record(Kind.IS_INCLUDE, GROUP, 1, 2)]
    quiet.ask(Version.THIRD, GROUP, 1.0, 1)
    quiet.ask(Version.THIRD, GROUP, 1.0)  # all of it
    quiet.ask(Version.THIRD, GROUP, 1.0, 2)
    assert quiet.hear(10) == [record(Kind.IS_EXCLUDE)]


def test_what_is_due_before_answers_a_later_query_too(quiet):
    quiet.ask(within=0.1)
    for _ in range(50):
        quiet.ask(within=100.0)
        quiet.ask(Version.THIRD, GROUP, 100.0)
    # of the later ones those that would have been sooner do count
    assert quiet.hear(0.1) == [record(Kind.IS_EXCLUDE)]
    assert quiet.reporter.deadline == math.inf


def test_a_flood_of_queries_gets_few_answers(quiet):
    batches = 0
    for number in range(2000):
        quiet.ask(within=0.0)
        quiet.ask(Version.THIRD, GROUP, 0.0, number % 200)
        batches += bool(quiet.hear(0.001))
    assert batches <= 2 / GAP + 1
    assert len(quiet.reporter._answers) <= 1


def test_sources_of_queries_are_bounded(quiet):
    for start in range(0, 250, 10):
        quiet.ask(Version.THIRD, GROUP, 10.0, *range(start, start + 10))
        assert all(len(each.sources) <= MOST_SOURCES for each in quiet.reporter._answers.values())
    answers = quiet.hear(10)
    assert answers == [record(Kind.IS_EXCLUDE)]


def test_a_group_that_was_left_is_not_answered_for(quiet):
    quiet.ask(Version.THIRD, GROUP, 10.0)
    assert quiet.host(GROUP, NO_SOURCE) == [record(Kind.TO_INCLUDE)]
    assert quiet.hear(10) == [record(Kind.TO_INCLUDE)]


# older routers, RFC 3376 7


def member(group=GROUP, leave=False, version=Version.SECOND):
    return Membership(group, leave, version)


def test_with_a_router_of_version_2(router):
    router.ask(Version.SECOND)
    assert router.host(GROUP, only(1)) == [member()]
    assert router.hear(10) == [member()]
    assert router.host(GROUP, only(1, 2)) == []  # it does not know sources
    router.wait(10)
    start = router.now
    router.ask(Version.SECOND, within=4.0)
    ((when, answer),) = router.wait(100)
    assert answer == member() and start < when <= start + 4
    router.ask(Version.SECOND, GROUP, 1.0)
    assert router.hear(1) == [member()]
    assert router.host(GROUP, NO_SOURCE) == [member(leave=True)]
    assert router.hear(30) == []


def test_with_a_router_of_version_1(router):
    router.ask(Version.FIRST)
    first = member(version=Version.FIRST)
    assert router.host(GROUP, ANY_SOURCE) == [first]
    assert router.hear(10) == [first]
    router.ask(Version.FIRST)
    assert router.hear(10) == [first]
    assert router.host(GROUP, NO_SOURCE) == []


def test_another_hosts_report_is_enough(router):
    router.ask(Version.SECOND)
    router.host(GROUP, ANY_SOURCE)
    router.wait(10)
    router.ask(Version.SECOND, within=5.0)
    router.reporter.receive_report(GROUP, router.now)
    assert router.hear(100) == []
    assert router.host(GROUP, NO_SOURCE) == []  # who reported last has to say it


def test_version_3_answers_whatever_others_report(quiet):
    quiet.ask(within=5.0)
    quiet.reporter.receive_report(GROUP, quiet.now)
    assert quiet.hear(5) == [record(Kind.IS_EXCLUDE)]


def test_each_group_has_a_time_of_its_own_in_version_2(router):
    router.ask(Version.SECOND)
    for number in range(10):
        router.host(A(f"239.2.2.{number}"), ANY_SOURCE)
    router.wait(20)
    router.ask(Version.SECOND, within=10.0)
    assert len({when for when, _ in router.wait(10)}) > 5


def test_a_router_that_is_silent_for_long_is_gone(quiet):
    quiet.ask(Version.SECOND, within=10.0)
    assert quiet.reporter.version is Version.SECOND
    quiet.wait(2 * 125 + 9)
    quiet.ask(Version.THIRD, within=1.0)
    assert quiet.hear(1) == [member()]  # RFC 3376 7.2.1: it is still there
    quiet.wait(1)
    quiet.ask(Version.THIRD, within=1.0)
    assert quiet.hear(1) == [record(Kind.IS_EXCLUDE)]


def test_the_oldest_router_counts(quiet):
    quiet.ask(Version.FIRST)
    quiet.ask(Version.SECOND)
    assert quiet.reporter.version is Version.FIRST


def test_a_change_of_version_drops_what_was_to_be_said(quiet):
    quiet.host(OTHER, ANY_SOURCE)
    quiet.ask(within=10.0)
    quiet.ask(Version.SECOND, within=1.0)
    told = quiet.hear(100)
    assert sorted(told, key=lambda each: each.group) == [member(), member(OTHER)]


def test_all_is_told_anew_to_who_could_not_hear(quiet):
    quiet.host(OTHER, only(1))
    quiet.wait(10)
    quiet.reporter.restate(quiet.now)
    quiet.reporter.hurry(quiet.now)
    told = quiet.said() + quiet.hear(10)
    assert record(Kind.TO_EXCLUDE) in told and record(Kind.ALLOW, OTHER, 1) in told
