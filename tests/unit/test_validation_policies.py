"""Which policies of success, catching up, overlap and priority are admitted, and in which form."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain.definition import CatchUp, Definition, JsonCondition, OneOff, Overlap, SuccessPolicy
from domain.validation import validate
from tests.unit.test_validation import DEFINITION, NOON, complaints

ONCE = replace(DEFINITION, trigger=OneOff(datetime=NOON + timedelta(hours=1)))


def complaint(definition: Definition, pointer: str) -> str:
    """The sentence about this field, which must be the only one."""
    found = complaints(definition)
    assert list(found) == [pointer]
    return found[pointer]


def succeeding(method: str = "GET", **conditions: Any) -> Definition:
    action = replace(DEFINITION.action, method=method)
    return replace(DEFINITION, action=action, success=SuccessPolicy(**conditions))


def catching_up(mode: Any, overlap: Any = "allow", **rest: Any) -> Definition:
    return replace(DEFINITION, catch_up=CatchUp(mode=mode, **rest), overlap=Overlap(mode=overlap))


def overlapping(mode: Any, **rest: Any) -> Definition:
    return replace(DEFINITION, overlap=Overlap(mode=mode, **rest))


def pointing(pointer: str) -> Definition:
    return succeeding(json=JsonCondition(pointer=pointer, equals=1))


ADMITTED = {
    "statuses and classes as a success": succeeding(statuses=("200", "3xx", "404")),
    "text of a thousand characters": succeeding(body_contains="é" * 1_000),
    "text with a line break and a NUL": succeeding(body_contains="a\n\0"),
    "a condition where one of the statuses has a body": succeeding(
        statuses=("204", "200"), body_contains="OK"
    ),
    "HEAD by its status": succeeding("HEAD", statuses=("200",)),
    "null as the value": succeeding(json=JsonCondition(pointer="/error", equals=None)),
    "the latest of a window": catching_up("latest", window_seconds=1),
    "the latest of a year": catching_up("latest", "skip", window_seconds=31_536_000),
    "nothing late": catching_up("skip", "cancel_running"),
    "all, of some, of a window": catching_up("all", "queue_all", window_seconds=60, max_runs=1_000),
    "all, side by side": catching_up("all", "allow", max_runs=1),
    "a hundred side by side": overlapping("skip", max_running=100),
    "a queue of one": overlapping("queue_one", max_running=1),
    "a queue of a thousand": overlapping("queue_all", max_running=2, max_queued=1_000),
    "a replaced run": overlapping("cancel_running", max_running=2),
    "no bound": overlapping("allow"),
    "a one-off as it was before there were policies": replace(ONCE, overlap=Overlap()),
    "a one-off that says nothing": replace(ONCE, overlap=Overlap(mode="skip")),
    "a one-off as it is shown": replace(ONCE, overlap=Overlap(mode="skip", max_running=1)),
    "a one-off that does not run late": replace(ONCE, catch_up=CatchUp(mode="skip")),
    "a one-off that runs late for an hour": replace(ONCE, catch_up=CatchUp(window_seconds=3_600)),
    "the first": replace(DEFINITION, priority=1),
    "the last": replace(DEFINITION, priority=9),
}


@pytest.mark.parametrize("definition", ADMITTED.values(), ids=ADMITTED)
def test_policies_that_can_have_an_effect_are_admitted(definition: Definition) -> None:
    assert complaints(definition) == {}


@pytest.mark.parametrize("pointer", ["", "/", "/a", "/a/0/~0/~1", "//", "/ é\n", "/" + "x" * 999])
def test_a_json_pointer_is_empty_or_a_path_from_the_root(pointer: str) -> None:
    assert complaints(pointing(pointer)) == {}


@pytest.mark.parametrize("pointer", ["a", "a/b", "#/a", "$.a", "/~", "/a~2b", "/a~", "~0", "/\ud800"])
def test_a_json_pointer_of_another_form_is_refused(pointer: str) -> None:
    said = complaint(pointing(pointer), "/success/json/pointer")
    assert (
        "is not a JSON pointer (RFC 6901): give one such as /data/state, with ~0 for ~ and ~1 for /" in said
    )


OUT_OF_RANGE = {
    "no status that is a success": (
        succeeding(statuses=()),
        "/success/statuses",
        "Nothing could ever succeed: give at least one status.",
    ),
    "a success that is no status": (succeeding(statuses=("200", "ok")), "/success/statuses/1", "100 to 599"),
    "too many statuses": (succeeding(statuses=("200",) * 51), "/success/statuses", "give at most 50"),
    "no text": (succeeding(body_contains=""), "/success/body_contains", "has 0 characters; give 1 to 1,000."),
    "too much text": (succeeding(body_contains="x" * 1_001), "/success/body_contains", "1001 characters"),
    "half a surrogate pair": (succeeding(body_contains="\ud800"), "/success/body_contains", "surrogate"),
    "a long pointer": (pointing("/" + "x" * 1_000), "/success/json/pointer", "has 1001 characters"),
    "no JSON as the value": (
        succeeding(json=JsonCondition(pointer="", equals=object())),
        "/success/json/equals",
        "compare with a simpler one",
    ),
    "no window": (catching_up("latest", window_seconds=0), "/catch_up/window_seconds", "give 1 to 31536000."),
    "over a year": (
        catching_up("all", window_seconds=31_536_001),
        "/catch_up/window_seconds",
        "give 1 to 31536000.",
    ),
    "none of all": (catching_up("all", max_runs=0), "/catch_up/max_runs", "give 1 to 1000."),
    "too many of all": (catching_up("all", max_runs=1_001), "/catch_up/max_runs", "give 1 to 1000."),
    "none may run": (overlapping("skip", max_running=0), "/overlap/max_running", "give 1 to 100."),
    "too many may run": (overlapping("queue_one", max_running=101), "/overlap/max_running", "give 1 to 100."),
    "too many may run of a one-off": (
        replace(ONCE, overlap=Overlap(mode="skip", max_running=101)),
        "/overlap/max_running",
        "give 1 to 100.",
    ),
    "none may wait": (overlapping("queue_all", max_queued=0), "/overlap/max_queued", "give 1 to 1000."),
    "too many may wait": (overlapping("queue_all", max_queued=1_001), "/overlap/max_queued", "1 to 1000."),
    "before the first": (replace(DEFINITION, priority=0), "/priority", 'priority "0" is out of range'),
    "after the last": (replace(DEFINITION, priority=10), "/priority", "give 1 to 9."),
}


@pytest.mark.parametrize(("definition", "pointer", "said"), OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
def test_a_bound_of_a_policy_out_of_range_is_refused(definition: Definition, pointer: str, said: str) -> None:
    assert said in complaint(definition, pointer)


CONTRADICTIONS = {
    "text in an answer to HEAD": (
        succeeding("head", body_contains="OK"),
        "/success/body_contains",
        "An answer to HEAD has no body: leave it out, or give another method.",
    ),
    "JSON in an answer to HEAD": (
        succeeding("HEAD", json=JsonCondition(pointer="", equals=1)),
        "/success/json",
        "An answer to HEAD has no body",
    ),
    "text in an answer without content": (
        succeeding(statuses=("204", "304"), body_contains="OK"),
        "/success/body_contains",
        "Answers with status 204 or 304 have no body: leave it out, or admit other statuses.",
    ),
    "a bound of how many are caught up without all": (
        catching_up("latest", max_runs=5),
        "/catch_up/max_runs",
        'max_runs bounds the mode "all" only: leave it out, or give catch_up.mode "all".',
    ),
    "a window of nothing": (
        catching_up("skip", window_seconds=60),
        "/catch_up/window_seconds",
        'With mode "skip" nothing late runs: leave window_seconds out, or give catch_up.mode "latest".',
    ),
    "all of a one-off": (
        replace(ONCE, catch_up=CatchUp(mode="all")),
        "/catch_up/mode",
        'A one-off has one occurrence: give mode "latest" (it runs late), or "skip" (it does not).',
    ),
    "a queue without queue_all": (
        overlapping("queue_one", max_queued=1),
        "/overlap/max_queued",
        'max_queued bounds the mode "queue_all" only: leave it out, or give overlap.mode "queue_all".',
    ),
    "a queue with allow": (overlapping("allow", max_queued=1), "/overlap/max_queued", "leave it out"),
    "a bound with allow": (
        overlapping("allow", max_running=1),
        "/overlap/max_running",
        'The mode "allow" has no bound: leave max_running out, or give another mode.',
    ),
    "a queue for a one-off": (
        replace(ONCE, overlap=Overlap(mode="queue_one")),
        "/overlap/mode",
        "A one-off has one occurrence, which overlaps none: leave overlap out.",
    ),
    "a one-off side by side": (
        replace(ONCE, overlap=Overlap(mode="skip", max_running=2)),
        "/overlap/max_running",
        "A one-off has one occurrence, which overlaps none: leave max_running out.",
    ),
}


@pytest.mark.parametrize(("definition", "pointer", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_policy_that_could_have_no_effect_is_refused(
    definition: Definition, pointer: str, said: str
) -> None:
    assert said in complaint(definition, pointer)


@pytest.mark.parametrize("mode", ["skip", "queue_one", "cancel_running"])
def test_catching_all_up_is_refused_where_most_of_it_would_not_run(mode: str) -> None:
    assert complaint(catching_up("all", mode), "/catch_up/mode") == (
        f'overlap.mode "{mode}" would skip or cut off most of what the mode "all" catches up: '
        'give overlap.mode "queue_all" or "allow".'
    )


NORMAL = [
    (Overlap(mode="skip"), Overlap(mode="skip", max_running=1)),
    (Overlap(mode="queue_one"), Overlap(mode="queue_one", max_running=1)),
    (Overlap(mode="queue_all"), Overlap(mode="queue_all", max_running=1, max_queued=100)),
    (Overlap(mode="cancel_running", max_running=3), Overlap(mode="cancel_running", max_running=3)),
    (Overlap(mode="allow"), Overlap(mode="allow")),
    (
        Overlap(mode="queue_all", max_running=2, max_queued=7),
        Overlap(mode="queue_all", max_running=2, max_queued=7),
    ),
]


@pytest.mark.parametrize(("given", "stored"), NORMAL)
def test_an_overlap_is_stored_with_the_bounds_of_its_mode(given: Overlap, stored: Overlap) -> None:
    assert validate(replace(DEFINITION, overlap=given), NOON).overlap == stored


def test_statuses_of_a_success_are_stored_once_each_and_in_lower_case() -> None:
    assert validate(succeeding(statuses=("2XX", "404", "2xx")), NOON).success.statuses == ("2xx", "404")
