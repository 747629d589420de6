"""Random links, settings and applications by the hundred: see `chaos`.

ASYNCSTACK_CHAOS_SEEDS=20000 runs as many seeds, ASYNCSTACK_CHAOS_SEEDS=5000-6000 those.
"""

import os

import pytest

from tests.simulation import chaos

first, _, last = os.environ.get("ASYNCSTACK_CHAOS_SEEDS", "0-250").rpartition("-")
FIRST, LAST = int(first or 0), int(last)
BLOCK = 50


@pytest.mark.timeout(600)
@pytest.mark.parametrize("start", range(FIRST, LAST, BLOCK))
def test_every_connection_ends_as_it_should(start):
    for seed in range(start, min(start + BLOCK, LAST)):
        try:
            chaos.run(seed)
        except BaseException as exc:
            exc.add_note(f'seed {seed}: python -c "from tests.simulation import chaos; chaos.run({seed})"')
            raise
