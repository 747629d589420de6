"""What is remembered, for how long, and how much of it."""

from asyncstack.application.dns.cache import LARGEST, Cache, Outcome
from asyncstack.application.dns.errors import NxDomain
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.records import A


def asked(name):
    return Question(name, "A")


def outcome(name, ttl, count=1):
    return Outcome(tuple(A(name, ttl, f"10.0.0.{i}") for i in range(count)), ttl=ttl)


def test_an_outcome_lasts_for_its_time():
    cache = Cache(10)
    cache.put(asked("a"), outcome("a", 60), 100.0)
    assert cache.get(asked("a"), 100.0) == outcome("a", 60)
    assert cache.get(asked("a"), 110.5).records[0].ttl == 49
    assert cache.get(asked("a"), 159.9).records[0].ttl == 0
    assert cache.get(asked("a"), 160.0) is None
    assert len(cache) == 0
    assert cache.get(Question("a", "AAAA"), 100.0) is None


def test_absence_is_remembered_too():
    cache = Cache(10)
    cache.put(asked("a"), Outcome(error=NxDomain, why="it does not exist", ttl=30), 0.0)
    assert cache.get(asked("a"), 29.0).error is NxDomain
    assert cache.get(asked("a"), 30.0) is None


def test_what_is_not_remembered():
    cache = Cache(10)
    cache.put(asked("a"), outcome("a", 0), 0.0)
    cache.put(asked("b"), Outcome(error=NxDomain), 0.0)
    cache.put(asked("c"), outcome("c", 60, LARGEST + 1), 0.0)
    assert len(cache) == 0
    cache.put(asked("c"), outcome("c", 60, LARGEST), 0.0)
    assert len(cache) == 1
    nothing = Cache(0)
    nothing.put(asked("a"), outcome("a", 60), 0.0)
    assert len(nothing) == 0


def test_the_one_used_longest_ago_gives_way():
    cache = Cache(3)
    for name in "abc":
        cache.put(asked(name), outcome(name, 60), 0.0)
    cache.get(asked("a"), 1.0)
    cache.put(asked("d"), outcome("d", 60), 1.0)
    assert [name for name in "abcd" if cache.get(asked(name), 2.0)] == ["a", "c", "d"]
    cache.put(asked("c"), outcome("c", 90), 2.0)  # takes its own place
    assert len(cache) == 3
    assert cache.get(asked("c"), 80.0).records[0].ttl == 12
    cache.clear()
    assert len(cache) == 0
