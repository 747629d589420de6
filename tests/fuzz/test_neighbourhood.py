"""Interfaces, addresses and groups that come and go while hostile neighbours speak: nothing raises, nothing is left."""

import asyncio
import random

import pytest

from tests.fuzz.neighbourhood import Life

STEPS = 300


def left_behind():
    """The tasks, and the timers that are set: of housekeeping too."""
    loop = asyncio.get_running_loop()
    return asyncio.all_tasks(), [entry[2] for entry in loop._timers if not entry[2].cancelled()]


@pytest.mark.virtual_time(limit=1e9)
@pytest.mark.parametrize("seed", range(5))
async def test_a_life_among_enemies(seed):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = left_behind()
    life = Life(random.Random(seed))
    try:
        await life.run(STEPS)
    finally:
        assert complaints == [], life.history
    for _ in range(10):
        await asyncio.sleep(0)
    assert left_behind() == before
    assert life.stack.routes.routes() == [] and life.stack.addresses.local == {}
    assert not life.stack.ndp._checks and not life.stack.ndp._hosts and len(life.stack.addresses.groups) == 0
