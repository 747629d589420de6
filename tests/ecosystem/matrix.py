"""The matrix, from what its tests are parametrised with: `python -m tests.ecosystem.matrix` prints it as Markdown."""

from collections.abc import Iterator

from tests.ecosystem.columns import COLUMNS, Column, Medium
from tests.ecosystem.rows import ROWS, Row


def cells() -> Iterator[tuple[Row, Column]]:
    """All that are tested."""
    for row in ROWS:
        for column in COLUMNS:
            if not row.why_not(column):
                yield row, column


def table() -> str:
    """A line per row, a column per medium with the loops it was run on; under it why a cell is missing."""
    media = list(Medium)
    lines = [
        "| library | what | way | " + " | ".join(medium.value for medium in media) + " |",
        "|---" * (3 + len(media)) + "|",
    ]
    reasons: dict[str, int] = {}
    tested = set(cells())
    before = ""
    for row in ROWS:
        entries = [_entry(row, medium, tested, reasons) for medium in media]
        library, before = ("" if row.library == before else row.library), row.library
        lines.append("| " + " | ".join([library, row.what, row.way, *entries]) + " |")
    lines += ["", *(f"{number}. {reason}" for reason, number in reasons.items())]
    return "\n".join(lines).rstrip() + "\n"


def _entry(row: Row, medium: Medium, tested: set[tuple[Row, Column]], reasons: dict[str, int]) -> str:
    """ "✓" and on which loops, or "no" and the number of the reason."""
    parts = []
    for column in COLUMNS:
        if column.medium is medium:
            if (row, column) in tested:
                parts.append("✓" if column.loop == "virtual" else f"✓ {column.loop}")
            else:
                number = reasons.setdefault(row.why_not(column), len(reasons) + 1)
                parts.append(f"no ({number})")
    return ", ".join(dict.fromkeys(parts))


if __name__ == "__main__":
    print(table(), end="")
