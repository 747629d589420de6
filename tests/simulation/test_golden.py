"""goodput.txt says what the transfers of its table do now, to the letter.

A difference means that TCP behaves otherwise than before: if that is wanted, `make golden` writes the new table, and
its diff belongs into the same commit.
"""

import pytest

from tests.simulation import goodput
from tests.simulation.goodput import GOLDEN, Cell

SUBSET = [  # cheap ones: little gets through
    (0.001, 0.100),
    (0.01, 0.100),
    (0.03, 0.020),
    (0.10, 0.001),
    (0.10, 0.020),
]
DEARER = 2  # of them, for a control that fills the link whatever is lost
LIMIT = 20.0  # Mbit/s


@pytest.mark.parametrize("name", goodput.controllers())
def test_some_transfers_are_as_in_the_golden_table(name):
    golden = goodput.read_golden()
    assert any(label.startswith(name) for label in golden), (
        f"{name} is not in {GOLDEN.name}: see `make golden`"
    )
    for cell in chosen(name, golden):
        assert golden[cell.label][1] == f"{goodput.goodput(cell):.2f}", f"{cell}: see `make golden`"


def chosen(name, golden):
    """The first seed of those rows; of the last two only, where they are dear."""
    cells = [Cell(name, loss, trip, 1) for loss, trip in SUBSET]
    dear = sum(float(golden[cell.label][1]) for cell in cells) > LIMIT * len(cells)
    return cells[-DEARER:] if dear else cells


def test_the_golden_table_has_a_row_for_every_control_and_link():
    cells = goodput.all_cells(goodput.controllers())
    assert list(goodput.read_golden()) == list(dict.fromkeys(cell.label for cell in cells))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_table_is_as_in_the_repository():
    assert goodput.table(goodput.controllers()).splitlines() == GOLDEN.read_text().splitlines()
