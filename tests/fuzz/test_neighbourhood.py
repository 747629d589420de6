"""Interfaces, addresses and groups that come and go while hostile neighbours speak: nothing raises, nothing is left."""

import asyncio
import random

import pytest

from tests.fuzz.neighbourhood import Life
from tests.stack.census import census

STEPS = 300


@pytest.mark.virtual_time(limit=1e9)
@pytest.mark.parametrize("seed", range(5))
async def test_a_life_among_enemies(seed):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = census()
    life = Life(random.Random(seed))
    try:
        await life.run(STEPS)
    finally:
        assert complaints == [], life.history
    for _ in range(10):
        await asyncio.sleep(0)
    after = census()
    assert (after.tasks, after.timers) == (before.tasks, before.timers)
    assert life.stack.routes.routes() == [] and life.stack.addresses.local == {}
    assert not life.stack.ndp._checks and not life.stack.ndp._hosts and len(life.stack.addresses.groups) == 0
