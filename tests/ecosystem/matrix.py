"""The matrix, from what its tests are parametrised with.

`python -m tests.ecosystem.matrix` prints it as Markdown; with names of files, puts it between MARKS in them.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.ecosystem.columns import COLUMNS, Column, Medium
from tests.ecosystem.rows import ROWS, Row

MARKS = "<!-- python -m tests.ecosystem.matrix -->\n", "<!-- end of the matrix -->\n"


def cells() -> Iterator[tuple[Row, Column]]:
    """All that are tested."""
    for row in ROWS:
        for column in COLUMNS:
            if not row.why_not(column):
                yield row, column


def table() -> str:
    """A line per row, a column per medium; under it why a cell is missing."""
    media = list(Medium)
    lines = [
        "| library | what | by | " + " | ".join(medium.value for medium in media) + " |",
        "|---" * 3 + "|:-:" * len(media) + "|",
    ]
    tested = set(cells())
    reasons: dict[str, int] = {}
    before = ""
    for row in ROWS:
        entries = [_entry(row, medium, tested, reasons) for medium in media]
        library, before = ("" if row.library == before else row.library), row.library
        lines.append("| " + " | ".join([library, row.what, row.way, *entries]) + " |")
    lines += ["", *(f"{number}. {reason}" for reason, number in reasons.items())]
    return "\n".join(lines).rstrip() + "\n"


def _entry(row: Row, medium: Medium, tested: set[tuple[Row, Column]], reasons: dict[str, int]) -> str:
    """ "✓" if it is tested on every loop of the medium; else what is, and why the rest is not."""
    columns = [column for column in COLUMNS if column.medium is medium]
    whole = all((row, column) in tested for column in columns)
    entry: dict[str, None] = {}
    for column in columns:
        word = "no" if (row, column) not in tested else "✓" if whole else f"✓ {column.loop}"
        if why := row.why_not(column) or row.remark(column):
            word += f" ({reasons.setdefault(why, len(reasons) + 1)})"
        entry[word] = None
    return ", ".join(entry)


def between_marks(text: str) -> str | None:
    """What a file has there, or None."""
    _, start, rest = text.partition(MARKS[0])
    found, end, _ = rest.partition(MARKS[1])
    return found if start and end else None


def write(path: Path) -> None:
    """Put the table into a file. Raises ValueError if it has no place for it."""
    text = path.read_text()
    old = between_marks(text)
    if old is None:
        raise ValueError(f"{path} lacks the lines {MARKS[0].strip()} and {MARKS[1].strip()}")
    path.write_text(text.replace(MARKS[0] + old + MARKS[1], MARKS[0] + table() + MARKS[1]))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name))
    if not sys.argv[1:]:
        print(table(), end="")
