"""The judgement of a run, on made-up outcomes."""

import json

import click
import pytest
from rich.console import Console

from . import plot, report
from .__main__ import chosen_cases, chosen_subjects
from .cases import CASES
from .rows import BY_NAME, ROWS
from .run import Outcome, Results
from .verdict import judge


def results(**values):
    """Outcomes of the row `upload-streams`, or of the row that the name says: kernel=..., asyncstack=..."""
    row = values.pop("row", "upload-streams")
    found = Results(["kernel", "asyncstack", "pmd-pytcp"], list(CASES), 10_000)
    for subject, rounds in values.items():
        found.outcome(row, subject.replace("_", "-")).values = rounds
    return found


def test_a_ratio_is_of_medians_and_judged_by_both_goals():
    verdict = judge(
        BY_NAME["upload-streams"], results(kernel=[10, 20, 30], asyncstack=[5, 6, 90], pmd_pytcp=[0.1])
    )
    assert verdict.ratio == verdict.figure == 0.3
    assert (verdict.first, verdict.final) == (True, False)
    assert verdict.times_peer == pytest.approx(60)
    assert verdict.peer is True


def test_lower_is_better_where_the_row_says_so():
    row = BY_NAME["latency-1cpu"]
    verdict = judge(row, results(row=row.name, kernel=[20], asyncstack=[60], pmd_pytcp=[1080]))
    assert (verdict.ratio, verdict.first, verdict.final) == (3.0, True, False)
    assert verdict.times_peer == 18
    assert verdict.peer is False


def test_a_goal_of_the_rows_own_needs_no_kernel():
    verdict = judge(BY_NAME["memory"], results(row="memory", asyncstack=[6000.0]))
    assert (verdict.ratio, verdict.figure, verdict.first, verdict.final) == (None, 6000.0, True, True)


def test_nothing_measured_nothing_judged():
    verdict = judge(BY_NAME["upload-streams"], results(kernel=[10]))
    assert (verdict.figure, verdict.first, verdict.final, verdict.peer) == (None, None, None, None)


@pytest.mark.parametrize(
    ("row", "six", "gain", "alike"),
    [
        ("upload-streams", 9.6, -0.04, True),
        ("upload-streams", 9.4, -0.06, False),
        ("latency-1cpu", 11.0, -0.09, False),
    ],
)
def test_ipv6_may_do_a_twentieth_worse_than_ipv4(row, six, gain, alike, capsys):
    found = results(row=row, asyncstack=[10.0], asyncstack_ipv6=[six])
    verdict = judge(BY_NAME[row], found)
    assert (round(verdict.gain, 2), verdict.alike) == (gain, alike)
    report.show(found, [])
    assert f"{gain:+.0%} {'✓' if alike else '✗'}" in capsys.readouterr().out


def test_spread_is_half_the_range_over_the_median():
    assert Outcome([8.0, 10.0, 14.0]).spread == pytest.approx(0.3)
    assert Outcome([8.0]).spread == 0.0


def test_every_row_belongs_to_one_case():
    assert [row for case in CASES for row in case.rows] == [row.name for row in ROWS]


def test_a_reason_stands_in_the_table_where_a_value_would(capsys):
    found = results(kernel=[10, 11])
    found.outcome("upload-streams", "asyncstack").reason = "failed: no reply in 5 s"
    report.show(found, ["a note"])
    shown = capsys.readouterr().out
    assert "10.5 ±5%" in shown
    assert "asyncstack (upload-streams): failed: no reply in 5 s" in shown
    assert "a note" in shown


def test_a_failed_round_shows_beside_the_others(capsys):
    found = results(kernel=[10.0, 10.0])
    outcome = found.outcome("upload-streams", "kernel")
    outcome.failures, outcome.reason = 1, "failed: it hung"
    report.show(found, [])
    shown = capsys.readouterr().out
    assert "10 ±0% 1 failed" in shown
    assert "it hung" in shown


def test_a_row_that_fails_is_tried_once_more():
    assert not Outcome([], "failed: once", 1).hopeless
    assert Outcome([], "failed: twice", 2).hopeless
    assert not Outcome([1.0], "failed: twice", 2).hopeless
    assert Outcome([], "not offered: nothing of the kind").hopeless


def test_the_files_hold_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(report.pytcp_environment, "version", lambda: "0.0")
    found = results(kernel=[10, 20, 30], asyncstack=[6.0])
    report.write_json(found, [], tmp_path / "bench.json")
    row = json.loads((tmp_path / "bench.json").read_text())["rows"][0]
    assert row["subjects"]["kernel"]["values"] == [10, 20, 30]
    assert row["ratio_to_kernel"] == 0.3
    assert row["first_goal_reached"] is True
    plot.draw(found, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_rows_are_chosen_by_their_beginning():
    chosen = [case.name for case in chosen_cases("http-, memory")]
    assert chosen == ["http-1", "http-50", "http-200", "memory"]
    assert chosen_cases("") == list(CASES)
    with pytest.raises(click.UsageError, match="no row begins with 'nothing'"):
        chosen_cases("nothing")
    with pytest.raises(click.UsageError, match="no subject 'gvisor'"):
        chosen_subjects("gvisor")


def test_a_wide_table_is_not_cut(capsys):
    report.show(results(kernel=[1.0]), [])
    console = Console(width=report.WIDTH)
    assert max(map(len, capsys.readouterr().out.splitlines()[:5])) <= console.width
