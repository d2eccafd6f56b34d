"""Why an occurrence was skipped: by catch-up, because of a pause, or because its task had changed."""

from __future__ import annotations

from msgspec.structs import replace

from domain.facts import TaskPaused, TaskResumed
from tests.support.given import after, cancelled, updated
from tests.support.telling import claimed, named, ran, rule, skipped

AT = after(60)


async def test_what_was_missed_is_skipped_by_the_catch_up_policy() -> None:
    fact = skipped(AT, "missed: not started before the next occurrence was due", at=after(200))
    told = await (await ran(fact)).at(AT)
    assert (told.verdict, rule(told, "skipped")) == ("skipped", "catch_up")
    assert told.summary.startswith("It did not run: missed")
    assert named(told, "skipped") == [("execution.skipped.v1", 2)]


async def test_what_fell_into_a_pause_and_was_skipped_names_the_pause() -> None:
    pause = (TaskPaused(at=after(30)), TaskResumed(at=after(130)))
    fact = skipped(AT, "the task was paused (from … to …)", at=after(130))
    told = await (await ran(fact, task=pause)).at(AT)
    assert rule(told, "skipped") == "pause"
    assert named(told, "skipped")[1:] == [("task.paused.v1", 2), ("task.resumed.v1", 3)]


async def test_what_the_catch_up_policy_skips_says_how_late_it_was() -> None:
    fact = replace(skipped(AT, "missed: too late", at=after(200)), by="catch_up")
    told = await (await ran(fact)).at(AT)
    assert rule(told, "skipped") == "catch_up"
    assert told.statements[0].text.endswith("too late; that was 2 min 20 s after its instant.")
    soon = replace(skipped(AT, "missed: a newer one", at=after(60.5)), by="catch_up")
    assert (await (await ran(soon)).at(AT)).statements[0].text.endswith("a newer one.")


async def test_what_was_skipped_because_of_a_pause_or_a_change_names_it_whatever_the_words() -> None:
    facts = (TaskPaused(at=after(30)), TaskResumed(at=after(130)), updated(url="http://other/"))
    for by, decided, topics in (
        ("pause", "pause", ["task.paused.v1", "task.resumed.v1"]),
        ("change", "change_before_send", ["task.updated.v1"]),
    ):
        fact = replace(skipped(AT, "for a reason", at=after(130)), by=by)
        told = await (await ran(fact, task=facts)).at(AT)
        assert rule(told, "skipped") == decided
        assert [topic for topic, _ in named(told, "skipped")[1:]] == topics


async def test_what_was_dropped_before_the_send_names_the_change_that_did_it() -> None:
    fact = skipped(AT, "the task was cancelled before the call was sent", at=AT)
    told = await (await ran(claimed(AT, at=after(59.99)), fact, task=(cancelled(after(59.995)),))).at(AT)
    assert (told.verdict, rule(told, "skipped")) == ("skipped", "change_before_send")
    assert named(told, "skipped") == [("execution.skipped.v1", 4), ("task.cancelled.v1", 2)]
