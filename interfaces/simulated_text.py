"""Simulations on the command line: how the question is read, and how the answer is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interfaces.http.simulation_answers import SimulationAnswer
from interfaces.http.simulation_body import UnreadSimulation, read_simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interfaces.http.schedule_answers import ClockChange
    from interfaces.http.simulation_answers import (
        OccurrenceCounts,
        OccurrenceDifference,
        SimulatedOccurrence,
        SimulatedTask,
        SimulatedWindow,
    )
    from interfaces.simulating import Simulated

_COUNTED = ("occurrences", "succeeded", "failed", "cancelled", "unfinished", "queued", "caught_up", "calls")
_SKIPPED = ("overlap", "catch_up", "pause", "change")


def question(body: bytes) -> UnreadSimulation:
    """What is asked. Raises `MalformedBody` and `InvalidBody`."""
    return read_simulation(body)


def as_json(simulated: Simulated) -> str:
    """The answer as the API gives it."""
    return msgspec.json.format(msgspec.json.encode(SimulationAnswer.of(simulated))).decode()


def as_text(simulated: Simulated, most: int) -> str:
    """The answer for people, with so many differences of each window."""
    answer = SimulationAnswer.of(simulated)
    windows = {"past": answer.past, "future": answer.future}
    return "\n".join(
        line for name, window in windows.items() if window is not None for line in _window(name, window, most)
    )


def _window(name: str, window: SimulatedWindow, most: int) -> Iterator[str]:
    yield f"{name}: {window.from_:%Y-%m-%d %H:%M:%S} to {window.to:%Y-%m-%d %H:%M:%S} UTC"
    for task in window.tasks:
        yield from _task(task)
    yield from _crowds(window)
    for changes in window.clock_changes:
        for side, found in (("before", changes.before), ("after", changes.after)):
            yield from (f"  clocks, {side}: {line}" for change in found for line in _clock_change(change))
    for downtime in window.downtimes:
        yield f"  nobody claimed from {downtime.from_:%Y-%m-%d %H:%M:%S} to {downtime.to:%H:%M:%S}"
    yield f"  {window.differences_total} occurrences differ"
    for difference in window.differences[:most]:
        yield f"    {_difference(difference)}"
    if window.differences_total > most:
        yield "    … (--differences, --json and `limit` show more)"


def _task(task: SimulatedTask) -> Iterator[str]:
    yield f"  {task.name} ({task.task_id or 'new'})"
    for name, before, after in _rows(task.before, task.after):
        mark = "" if before == after else "   *"
        yield f"    {name:<19}{before:>8} → {after:<8}{mark}".rstrip()
    if task.assumed:
        of = (
            f"the median of {task.usual_duration_of} calls"
            if task.usual_duration_of
            else "as given, or a guess"
        )
        yield f"    {task.assumed} executions are assumed to succeed in {task.usual_duration_ms} ms: {of}"


def _rows(before: OccurrenceCounts, after: OccurrenceCounts) -> Iterator[tuple[str, int, int]]:
    """What is zero in both accounts says nothing."""
    rows = [(name, getattr(before, name), getattr(after, name)) for name in _COUNTED]
    rows[2:2] = [
        (f"skipped: {name}", getattr(before.skipped, name), getattr(after.skipped, name)) for name in _SKIPPED
    ]
    return ((name.replace("_", " "), one, other) for name, one, other in rows if one or other)


def _crowds(window: SimulatedWindow) -> Iterator[str]:
    peaks = [side.peaks[0] if side.peaks else None for side in (window.load.before, window.load.after)]
    told = ["none" if peak is None else f"{peak.calls} at {peak.minute:%m-%d %H:%M}" for peak in peaks]
    yield f"  most calls in a minute: {told[0]} → {told[1]}"
    for each in window.collisions:
        yield f"  most at once at {each.destination}: {each.before.most} → {each.after.most}"


def _clock_change(change: ClockChange) -> Iterator[str]:
    for time in change.times:
        yield f"{time.text} ({change.timezone})"


def _difference(difference: OccurrenceDifference) -> str:
    told = [_occurrence(side) for side in (difference.before, difference.after)]
    assumed = " (assumed)" if difference.assumed else ""
    return f"{difference.due_at:%Y-%m-%d %H:%M:%S}  {told[0]} → {told[1]}{assumed}"


def _occurrence(occurrence: SimulatedOccurrence | None) -> str:
    if occurrence is None:
        return "no occurrence"
    by = f" by {occurrence.by}" if occurrence.by else ""
    at = f" at {occurrence.began_at:%H:%M:%S}" if occurrence.began_at else ""
    tries = f", {occurrence.attempts} attempts" if occurrence.attempts > 1 else ""
    return f"{occurrence.status}{by}{at}{tries}"
