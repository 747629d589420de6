"""What is remembered, for how long, and how much of it."""

from asyncstack.application.dns.cache import FAILURE_TTL, Cache, Outcome
from asyncstack.application.dns.errors import NoAnswer, NxDomain
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.records import CNAME, MX, SOA, TXT, A, Other


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
    cache.put(asked("c"), outcome("c", 60, 200), 0.0)
    assert len(cache) == 0
    cache.put(asked("c"), outcome("c", 60, 50), 0.0)
    assert len(cache) == 1
    nothing = Cache(0)
    nothing.put(asked("a"), outcome("a", 60), 0.0)
    assert len(nothing) == 0


def big(name, size):
    soa = SOA("org", 60, "n" * size, "root.org", 1, 2, 3, 4, 5)
    return [
        Outcome((TXT(name, 60, (b"x" * 255,) * (size // 255)),), ttl=60),
        Outcome((Other(name, 60, "TYPE65400", b"x" * size),), ttl=60),
        Outcome(tuple(MX(name, 60, i, "x" * 200) for i in range(size // 200)), ttl=60),
        Outcome(chain=tuple(CNAME(name, 60, "x" * 200) for i in range(size // 200)), ttl=60),
        Outcome(error=NxDomain, why="x" * size, ttl=60),
        Outcome(error=NxDomain, soa=soa, ttl=60),
    ]


def test_however_much_a_stranger_has_to_say_the_memory_is_bounded():
    """4096 answers of 60 kB are 250 MB."""
    cache = Cache(10)
    for number, outcome in enumerate(big("a", 6000)):
        cache.put(asked(str(number)), outcome, 0.0)
    assert len(cache) == 0
    for number, outcome in enumerate(big("a", 1000)):
        cache.put(asked(str(number)), outcome, 0.0)
    assert len(cache) == 6


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


def test_a_failure_is_remembered_for_longer_each_time():
    """RFC 9520 3.2: at least a second, at most five minutes."""
    cache = Cache(10)
    now, seconds = 0.0, []
    for _ in range(8):
        cache.put(asked("a"), Outcome(error=NoAnswer, ttl=1), now)
        start = now
        while cache.get(asked("a"), now):
            now += 0.5
        seconds.append(now - start)
    assert seconds == [1, 2, 4, 8, 16, FAILURE_TTL, FAILURE_TTL, FAILURE_TTL]
    cache.put(asked("a"), outcome("a", 60), now)
    cache.put(asked("a"), Outcome(error=NoAnswer, ttl=1), now + 60)
    assert cache.get(asked("a"), now + 60.9).error is NoAnswer
    assert cache.get(asked("a"), now + 61) is None  # it begins anew


def test_aliases_and_the_soa_grow_old_too():
    cache = Cache(10)
    soa = SOA("org", 60, "ns.org", "root.org", 1, 2, 3, 4, 5)
    cache.put(asked("a"), Outcome(error=NxDomain, chain=(CNAME("a", 40, "b"),), soa=soa, ttl=30), 0.0)
    found = cache.get(asked("a"), 10.0)
    assert (found.chain[0].ttl, found.soa.ttl) == (30, 50)
