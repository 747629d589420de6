"""What `asyncstack ping` prints, beside what Linux makes it say in test_way.py."""

import pytest

from asyncstack.cli.ping import WORDS, _milliseconds, _Tally
from asyncstack.network.errors import Unreachable


@pytest.mark.parametrize("kind", Unreachable)
def test_there_are_words_for_every_error(kind):
    assert len(WORDS[kind]) == 2


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0.0124, "0.012"),
        (0.9994, "0.999"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234.5, "1234"),
    ],
)
def test_times(milliseconds, text):
    assert _milliseconds(milliseconds / 1000) == text


def test_a_summary():
    tally = _Tally("there")
    tally.sent = 3
    for rtt in (0.001, 0.003):
        tally.count(rtt)
    _, _, counts, times = tally.summary().split("\n")
    assert counts.startswith("3 packets transmitted, 2 received, 33.3333% packet loss, time ")
    assert times == "rtt min/avg/max/mdev = 1.000/2.000/3.000/1.000 ms"
