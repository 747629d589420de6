import math

from asyncstack.network.pmtu import PathMtuTable, plateau_below

ONE, TWO, THREE = b"\x0a\0\0\x01", b"\x0a\0\0\x02", b"\x0a\0\0\x03"
SIX = bytes(15) + b"\x09"


def test_what_is_reported_is_known_until_it_expires():
    table = PathMtuTable(lifetime=600.0)
    assert (table.get(ONE), table.deadline) == (0, math.inf)
    assert table.update(ONE, 1400, 100.0)
    assert not table.update(ONE, 1400, 150.0)
    assert table.update(ONE, 1300, 200.0)
    assert (table.get(ONE), table.deadline) == (1300, 800.0)
    assert not table.timer_expired(799.0)
    assert table.get(ONE) == 1300
    assert table.timer_expired(800.0)
    assert (table.get(ONE), len(table), table.deadline) == (0, 0, math.inf)


def test_no_mtu_below_the_minimum_of_the_family():
    table = PathMtuTable()
    table.update(ONE, 68, 0.0)
    table.update(SIX, 600, 0.0)
    assert (table.get(ONE), table.get(SIX)) == (552, 1280)


def test_the_table_is_bounded_and_what_expires_first_makes_room():
    table = PathMtuTable(limit=2)
    table.update(ONE, 1400, 0.0)
    table.update(TWO, 1400, 1.0)
    table.update(ONE, 1400, 2.0)  # renewed
    table.update(THREE, 1400, 3.0)
    assert (len(table), table.get(ONE), table.get(TWO), table.get(THREE)) == (2, 1400, 0, 1400)
    assert table.deadline == 602.0


def test_plateaus():
    assert [plateau_below(length) for length in (65535, 1500, 1492, 600, 552, 100)] == [
        32000,
        1492,
        1006,
        552,
        552,
        552,
    ]
