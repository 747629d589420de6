"""Who is in which group, and what an interface lets in of it (RFC 3376 3)."""

import pytest

from asyncstack.network.addresses import AddressTable
from asyncstack.network.addresses import parse_address as A
from asyncstack.network.groups import ANY_SOURCE, NO_SOURCE, Groups, SourceFilter, merge
from tests.network.host import Interface

GROUP = A("239.1.2.3")


def only(*sources):
    return SourceFilter(False, frozenset(A(f"10.0.0.{source}") for source in sources))


def but(*sources):
    return SourceFilter(True, frozenset(A(f"10.0.0.{source}") for source in sources))


@pytest.fixture
def eth0():
    return Interface("eth0", 2)


@pytest.fixture
def eth1():
    return Interface("eth1", 3)


@pytest.fixture
def groups():
    return Groups()


@pytest.mark.parametrize(
    "filters, merged",
    [
        ([], NO_SOURCE),
        ([only(1), only(2)], only(1, 2)),
        ([only(1), ANY_SOURCE], ANY_SOURCE),
        ([but(1, 2), but(2, 3)], but(2)),
        ([but(1, 2, 3), but(2, 3, 4), only(2)], but(3)),  # the last example of RFC 3376 3.2
        ([only(1, 2, 3), but(4)], but(4)),
        ([only()], NO_SOURCE),
    ],
)
def test_rfc3376_3_2_what_an_interface_lets_in(filters, merged):
    assert merge(filters) == merged


def test_what_passes():
    assert only(1).passes(A("10.0.0.1")) and not only(1).passes(A("10.0.0.2"))
    assert but(1).passes(A("10.0.0.2")) and not but(1).passes(A("10.0.0.1"))
    assert ANY_SOURCE.passes(A("10.0.0.1")) and not NO_SOURCE.passes(A("10.0.0.1"))


def test_groups_that_every_host_is_in(eth0, eth1):
    table = AddressTable()
    accepts, asking = table.groups.accepts, A("fd00::9")
    table.add(A("fd00::12:3456"), 64, eth0)
    assert accepts(A("224.0.0.1"), eth0, A("10.0.0.9"))
    assert accepts(A("ff02::1"), eth0, asking)
    assert accepts(A("ff02::1:ff12:3456"), eth0, asking)
    assert not accepts(A("ff02::1:ff12:3456"), eth1, asking)
    table.remove(A("fd00::12:3456"))
    assert not accepts(A("ff02::1:ff12:3456"), eth0, asking)


def test_two_addresses_share_a_solicited_node_group(eth0):
    table = AddressTable()
    table.add(A("fd00::1"), 64, eth0)
    table.add(A("fe80::1"), 64, eth0)
    table.remove(A("fd00::1"))
    assert table.groups.accepts(A("ff02::1:ff00:1"), eth0, A("fd00::9"))


def test_a_group_is_left_when_the_last_member_leaves(groups, eth0, eth1):
    link = []
    groups.on_join = lambda group, interface: link.append("in")
    groups.on_leave = lambda group, interface: link.append("out")
    source = A("10.0.0.9")
    assert not groups.accepts(GROUP, eth0, source)
    groups.join(GROUP, eth0, "first")
    groups.join(GROUP, eth0, "second")
    groups.leave(GROUP, eth0, "first")
    assert groups.accepts(GROUP, eth0, source)
    assert not groups.accepts(GROUP, eth1, source)
    groups.leave(GROUP, eth0, "second")
    assert not groups.accepts(GROUP, eth0, source)
    groups.leave(GROUP, eth0, "second")  # once too often does no harm
    assert link == ["in", "out"]
    assert len(groups) == 0


def test_changes_are_told_once_and_only_if_they_are_any(groups, eth0):
    told = []
    groups.on_change = lambda group, interface, before, now: told.append((before, now))
    groups.join(GROUP, eth0, "a", only(1))
    groups.join(GROUP, eth0, "b", only(1))
    groups.join(GROUP, eth0, "b", only(2))
    groups.join(GROUP, eth0, "c", but(1, 9))
    groups.leave(GROUP, eth0, "a")
    groups.leave(GROUP, eth0, "c")
    groups.leave(GROUP, eth0, "b")
    assert told == [
        (NO_SOURCE, only(1)),
        (only(1), only(1, 2)),
        (only(1, 2), but(9)),
        (but(9), but(1, 9)),
        (but(1, 9), only(2)),
        (only(2), NO_SOURCE),
    ]


def test_an_interface_takes_its_groups_along(groups, eth0, eth1):
    groups.join(GROUP, eth0, "a")
    groups.join(GROUP, eth1, "a", only(1))
    groups.remove_interface(eth0)
    assert groups.of(eth0) == []
    assert groups.of(eth1) == [(GROUP, only(1))]
    groups.leave(GROUP, eth0, "a")
