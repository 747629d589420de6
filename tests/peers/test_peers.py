"""What applies of the tests of CPython's asyncio and of uvloop passes on asyncstack's loops, as `counts.txt` says."""

from __future__ import annotations

import importlib.util
from collections import Counter

import pytest

from tests.peers.files import COUNTS, FILES, HEADER, UVLOOP, File, Result, groups, run


def why_not(file: File) -> str:
    """Why the tests of `file` can not run here, "" if they can."""
    if file.peer == "uvloop":
        return (
            "" if UVLOOP.exists() else "no source package of uvloop in build/peers: `make peers` fetches it"
        )
    found = importlib.util.find_spec("test.test_asyncio")
    return "" if found else "this Python was installed without its package `test`"


LONG = ("cpython/test_events on selector", "uvloop/test_tcp on uvloop")  # a third of a minute each


@pytest.mark.tun
@pytest.mark.parametrize(
    "file",
    [pytest.param(one, id=str(one), marks=[pytest.mark.long] * (str(one) in LONG)) for one in FILES],
)
def test_peer(file: File) -> None:
    """Nothing fails, nothing is excluded that is not there, and the numbers are those of the table."""
    if reason := why_not(file):
        pytest.skip(reason)
    result = run(file)
    assert not result.failed, "\n".join(f"{name}\n{text}" for name, text in result.failed.items())
    assert not result.stale
    assert result.row in COUNTS.read_text().splitlines()
    assert is_enough(result), "a quarter of the file, or more, is excluded"


def is_enough(result: Result) -> bool:
    """Whether less than a quarter of what could apply is excluded."""
    return 4 * result.excluded < result.passed + result.excluded


def test_the_table_is_whole() -> None:
    """A row for each file, and none for others."""
    header, *rows = COUNTS.read_text().splitlines()
    assert header == HEADER
    assert Counter(tuple(row.split()[:2]) for row in rows) == Counter((file.key, file.loop) for file in FILES)


def test_exclusions_are_told_once_with_a_reason() -> None:
    known = {file.key for file in FILES}
    reasons = [group.reason for group in groups()]
    assert all(reasons)
    assert len(set(reasons)) == len(reasons)
    assert {key for group in groups() for key in group.patterns} <= known
