"""The model check: any script of two ends and an adversary between them keeps TCP's promises (see `world`).

`pytest -m long tests/model` plays 10,000 scripts that are new in each run; a failure prints the smallest script that
still fails and its dialogue, and `play(Script(...))` repeats it.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.model.script import Fate, Script, Step, scripts
from tests.model.world import play

COMMON = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    print_blob=False,
)


@pytest.mark.timeout(300)
@settings(COMMON, max_examples=300, derandomize=True)
@given(scripts())
def test_tcp_keeps_its_promises(script):
    play(script)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(COMMON, max_examples=10_000)
@given(scripts())
def test_tcp_keeps_its_promises_in_ten_thousand_scripts(script):
    play(script)


@pytest.mark.parametrize("version", [4, 6])
def test_a_script_without_steps_is_two_handshakes(version):
    lines = str(play(Script(version=version))).splitlines()
    assert [line.split()[3] for line in lines[:3]] == ["S", "S.", "."]
    assert sum("F." in line for line in lines) == 2


def test_the_fates_befall_the_packets():
    script = Script(
        steps=(Step("client", "writes", 20_000), Step("server", "gets", 0, after=0.3)),
        fates=(
            Fate("client", 3, "lost"),
            Fate("client", 4, "late", seconds=0.3),
            Fate("client", 5, "twice", count=2, seconds=0.03),
            Fate("client", 8, "damaged", share=0.5),
            Fate("client", 9, "cut", share=0.5),
        ),
    )
    told = str(play(script))
    for fate in ("lost", "late", "twice", "damaged", "cut"):
        assert told.count(f" {fate}\n") >= 1, told
    assert "gets reset_in_window" in told
