"""The arithmetic of the loss benchmark's table, and its command line."""

import json

import click
import pytest

from tests.bench.loss.__main__ import chosen_cells, chosen_pairings
from tests.bench.loss.measure import KERNEL, STACK, Cell, Pairing, Run
from tests.bench.loss.report import BASE, Results, goal, remarks, table, write_json

CELL = Cell(0.01, 0.020)
OURS = Pairing(STACK, KERNEL, "cubic")


def results(*goodputs):
    """`goodputs`: (seed, the kernel's, ours)."""
    made = Results([BASE, OURS], [CELL], 10.0)
    for seed, base, ours in goodputs:
        for pairing, value in ((BASE, base), (OURS, ours)):
            made.runs[CELL, pairing, seed] = Run(value, 0.25, 1.0, {"late": 0.01})
    return made


def test_ratios_are_taken_seed_by_seed():
    made = results((1, 10.0, 9.0), (2, 20.0, 22.0), (3, 40.0, 40.0))
    assert made.ratios(CELL, OURS) == pytest.approx([0.9, 1.1, 1.0])
    row = table(made).splitlines()[1]
    assert "1.0%" in row
    assert "20.00 ±15.00 Mbit/s" in row
    assert "1.00 ±0.10" in row
    assert "!" not in row


def test_what_misses_its_goal_is_marked():
    assert table(results((1, 10.0, 8.9))).endswith("!")


def test_a_pairing_without_its_base_has_no_ratio():
    made = results()
    made.runs[CELL, OURS, 1] = Run(5.0, 0.1, 1.0, {"late": 0.0})
    assert made.ratios(CELL, OURS) == []
    assert "-" in table(made)


def test_goals():
    bbr = Pairing(STACK, KERNEL, "bbr")
    assert goal(OURS, CELL) == 0.9
    assert goal(bbr, CELL) == 1.0
    assert goal(bbr, Cell(0.001, 0.02)) is None
    assert goal(BASE, CELL) is None


def test_a_link_that_is_the_limit_is_told():
    cell = Cell(0.0, 0.020)
    made = Results([BASE], [cell], 10.0)
    made.runs[cell, BASE, 1] = Run(80.0, 0.9, 1.0, {"late": 0.3})
    assert any("does not fill the link" in note for note in remarks(made))


def test_json(tmp_path):
    write_json(results((1, 10.0, 9.0)), tmp_path / "out.json")
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert [run["goodput"] for run in runs] == [10.0, 9.0]
    assert runs[1]["sender"] == STACK


def test_words_of_the_command_line():
    assert chosen_cells("1%x20, 10%x100", False) == [Cell(0.01, 0.02), Cell(0.1, 0.1)]
    assert len(chosen_cells("", False)) == 15
    assert chosen_pairings("cubic") == [BASE, Pairing(KERNEL, STACK, "cubic"), OURS]
    for call, words in ((lambda w: chosen_cells(w, False), "1%"), (chosen_pairings, "vegas")):
        with pytest.raises(click.UsageError):
            call(words)
