"""Every cell of the matrix."""

import pytest

from tests.ecosystem.columns import Column
from tests.ecosystem.matrix import between_marks, cells, table
from tests.ecosystem.places import run
from tests.ecosystem.rows import Row
from tests.programs import require_package, require_program
from tests.running import CHECKOUT


def parametrized(kernel: bool) -> pytest.MarkDecorator:
    """All cells with, or without, the kernel on one side."""
    found = [
        pytest.param(row, column, id=f"{row}-{column}")
        for row, column in cells()
        if column.medium.kernel == kernel
    ]
    return pytest.mark.parametrize(("row", "column"), found)


def require(row: Row) -> None:
    """Skip, or under CI=true fail, where something is not installed."""
    for package in row.packages:
        require_package(package)
    for program in row.programs:
        require_program(program)


@parametrized(kernel=False)
def test_stack_to_stack(row: Row, column: Column, isolated, site_files):
    require(row)
    run(row, column, site_files)


@pytest.mark.tun
@parametrized(kernel=True)
def test_over_tun(row: Row, column: Column, netns, peers, site_files):
    require(row)
    run(row, column, site_files, peers, netns.fd)


def test_the_documents_tell_what_is_tested():
    """Written anew by `python -m tests.ecosystem.matrix README.md tests/ecosystem/README.md`."""
    texts = [(CHECKOUT / name).read_text() for name in ("README.md", "tests/ecosystem/README.md")]
    tables = [found for text in texts if (found := between_marks(text)) is not None]
    assert tables
    assert set(tables) == {table()}
