import random

from asyncstack.network.rate_limit import TokenBucket


def count(bucket, times):
    return sum(bucket.take(now) for now in times)


def test_a_burst_is_bounded_and_its_size_is_not_exact():
    sizes = {count(TokenBucket(10.0, 50, random.Random(seed)), [5.0] * 1000) for seed in range(20)}
    assert 30 <= min(sizes) < max(sizes) <= 80


def test_the_average_is_the_rate():
    bucket = TokenBucket(10.0, 50, random.Random(1))
    count(bucket, [0.0] * 1000)
    allowed = count(bucket, [step / 1000 for step in range(100_000)])
    assert 900 <= allowed <= 1100


def test_a_clock_that_stands_still_gives_nothing():
    bucket = TokenBucket(10.0, 5, random.Random(1))
    count(bucket, [3.0] * 100)
    assert count(bucket, [3.0] * 100 + [2.0] * 100) == 0
