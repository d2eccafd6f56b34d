"""What `make benchmark` makes of what it has measured."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks import plot, report, runs
from benchmarks.figures import (
    Better,
    Chart,
    Figure,
    Findings,
    Limit,
    Line,
    is_regression,
    merged,
    percentile,
    spread,
    worse_by,
)
from benchmarks.runs import Run

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def rate(value: float, limit: float | None = None) -> Figure:
    return Figure(
        name="rate",
        value=value,
        unit="calls/s",
        better="higher",
        limit=None if limit is None else Limit("loop", limit),
    )


def lateness(value: float) -> Figure:
    return Figure(name="lateness", value=value, unit="ms", better="lower", target=2.0)


def run(at: datetime, *figures: Figure, scenario: str = "burst", scale: float = 1.0) -> Run:
    return Run(scenario=scenario, scale=scale, repeat=1, at=at, machine={}, findings=Findings(list(figures)))


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_every_percentile_of_one_value_is_that_value() -> None:
    assert {percentile([7.0], percent) for percent in (0, 50, 100)} == {7.0}


def test_the_spread_is_a_part_of_the_median() -> None:
    assert spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
    assert spread([5.0]) == 0.0
    assert spread([0.0, 0.0]) == 0.0
    assert spread([0.0, 0.0, 3.0]) == math.inf


def test_repetitions_become_medians_with_their_spread() -> None:
    repetitions = [Findings([rate(value, limit)]) for value, limit in ((100, 900), (300, 1_000), (200, 800))]

    [figure] = merged(repetitions).figures

    assert figure.value == 200
    assert figure.limit == Limit("loop", 900)
    assert figure.spread == pytest.approx(1.0)
    assert figure.meaningless == pytest.approx(1.0)


def test_a_single_repetition_has_no_spread_and_the_usual_noise() -> None:
    [figure] = merged([Findings([rate(100)])]).figures

    assert figure.spread == 0.0
    assert figure.meaningless == 0.25


def test_the_ratio_is_the_part_of_the_limit() -> None:
    assert rate(50, 200).ratio == 0.25
    assert rate(50).ratio is None
    assert rate(50, 0).ratio is None


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (lateness(2.0), "ok"),
        (lateness(2.1), "not yet"),
        (replace(rate(50), target=50.0), "ok"),
        (replace(rate(49), target=50.0), "not yet"),
        (replace(rate(50, 100), target_ratio=0.5), "ok"),
        (replace(rate(50, 101), target_ratio=0.5), "not yet"),
        (replace(rate(50, 101), target=50.0, target_ratio=0.5), "not yet"),
        (replace(rate(50), target_ratio=0.5), None),
        (rate(50, 100), None),
    ],
)
def test_a_target_is_met_only_when_value_and_ratio_are_there(figure: Figure, verdict: str | None) -> None:
    assert figure.verdict == verdict


@pytest.mark.parametrize(
    ("now", "before", "better", "worse"),
    [
        (75, 100, "higher", 0.25),
        (125, 100, "higher", -0.25),
        (125, 100, "lower", 0.25),
        (0, 0, "lower", 0.0),
        (1, 0, "lower", math.inf),
        (1, 0, "higher", -math.inf),
    ],
)
def test_worse_is_measured_against_what_it_was(
    now: float, before: float, better: Better, worse: float
) -> None:
    assert worse_by(now, before, better) == worse


def test_a_quarter_is_noise_and_more_is_a_regression() -> None:
    assert not is_regression(rate(75), rate(100))
    assert is_regression(rate(74), rate(100))
    assert not is_regression(rate(200), rate(100))
    assert is_regression(lateness(1.3), lateness(1.0))
    assert not is_regression(lateness(0.1), lateness(1.0))


@pytest.mark.parametrize("noisy", ["now", "before"])
def test_the_spread_of_either_run_is_noise_as_well(noisy: str) -> None:
    now, before = rate(60), rate(100)
    if noisy == "now":
        now = replace(now, spread=0.5)
    else:
        before = replace(before, spread=0.5)

    assert not is_regression(now, before)
    assert is_regression(replace(now, value=49.0), before)


def test_a_difference_below_the_grain_is_none() -> None:
    assert not is_regression(replace(lateness(0.2), grain=0.2), lateness(0.1))
    assert is_regression(replace(lateness(0.4), grain=0.2), lateness(0.1))


def test_a_slower_machine_is_no_regression() -> None:
    assert not is_regression(rate(50, limit=500), rate(100, limit=1_000))
    assert is_regression(rate(50, limit=1_000), rate(100, limit=1_000))


def test_what_was_zero_and_is_not_is_a_regression() -> None:
    lost = Figure(name="lost", value=0, unit="executions", better="lower", target=0.0)

    assert is_regression(replace(lost, value=1), lost)
    assert not is_regression(lost, lost)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1_234_567.8, "1,234,568"),
        (123.45, "123"),
        (12.345, "12.3"),
        (1.2345, "1.23"),
        (0.012345, "0.0123"),
        (-12.345, "-12.3"),
        (math.inf, "inf"),
    ],
)
def test_values_are_shown_with_three_digits_that_count(value: float, text: str) -> None:
    assert report.shown(value) == text


def test_the_table_shows_limit_target_verdict_and_change_beside_each_value() -> None:
    now = [replace(rate(9_000, 12_000), target=8_000.0, target_ratio=0.5, spread=0.08), lateness(2.5)]
    last = {"rate": rate(6_000, 12_000), "lateness": lateness(1.0)}

    lines = report.table(now, last).splitlines()
    words = [" ".join(line.split()) for line in lines]

    assert len(lines) == 4
    assert words[0] == "figure value spread limit ratio target last run change"
    assert words[2] == "rate 9,000 calls/s 8% 12,000 loop 0.75 >= 8,000, >= 0.5 x limit ok 6,000 +50%"
    assert words[3] == "lateness 2.50 ms <= 2.00 not yet 1.00 +150% !"
    assert lines[2].index("9,000") + len("9,000") == lines[3].index("2.50") + len("2.50")


def test_the_table_of_a_first_run_compares_with_nothing() -> None:
    assert report.table([rate(5)], {}).splitlines()[2].split() == ["rate", "5.00", "calls/s"]


def test_a_regression_is_a_sentence_with_both_values() -> None:
    now = [rate(50), lateness(1.0), replace(rate(1), name="new")]

    [sentence] = report.regressions(now, {"rate": rate(100), "lateness": lateness(1.0)})

    assert sentence == (
        "regression: rate was 100 calls/s in the last run and is 50.0 now (-50%; up to 25% is noise)"
    )


def test_the_last_run_is_the_latest_of_the_same_scenario_and_scale(tmp_path: Path) -> None:
    day = timedelta(days=1)
    runs.store(run(NOON, rate(1)), tmp_path)
    runs.store(run(NOON + day, rate(2)), tmp_path)
    runs.store(run(NOON + 2 * day, rate(3), scale=0.1), tmp_path)
    runs.store(run(NOON + 3 * day, rate(4), scenario="punctual"), tmp_path)
    (tmp_path / "burst-29990101T000000000000Z.json").write_text('{"of": "another release"}')

    assert runs.last_figures("burst", 1.0, tmp_path) == {"rate": rate(2)}
    assert runs.last_figures("burst", 0.1, tmp_path) == {"rate": rate(3)}
    assert runs.last_figures("idle", 1.0, tmp_path) == {}


def test_a_stored_run_is_read_back_whole(tmp_path: Path) -> None:
    chart = Chart(title="t", x="x", y="y", lines=[Line("a", [(0.0, 1.0), (1.0, 2.0)])])
    stored = replace(run(NOON, rate(1, 2)), findings=Findings([rate(1, 2)], [chart]))

    path = runs.store(stored, tmp_path)

    assert path.name == "burst-20300101T120000000000Z.json"
    assert runs.last_figures("burst", 1.0, tmp_path) == {"rate": rate(1, 2)}


def test_charts_are_drawn_whatever_their_axes(tmp_path: Path) -> None:
    points = [(0.0, 0.5), (10.0, 1.0), (1_000.0, 2.0)]
    charts = [
        Chart(title="plain", x="x", y="y", lines=[Line("a", points), Line("nothing", [])]),
        Chart(title="logarithmic", x="x", y="y", lines=[Line("a", points)], log_x=True, log_y=True),
    ]

    plot.draw(charts, tmp_path / "charts.png")

    assert (tmp_path / "charts.png").read_bytes().startswith(b"\x89PNG")
