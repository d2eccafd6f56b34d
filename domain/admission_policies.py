"""Which policies of catching up, overlap and priority are admitted, and how they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.admission_fields import range_errors, wrong
from domain.definition import FIRST_PRIORITY, LAST_PRIORITY, OneOff, Overlap
from domain.overlap import USUAL_QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.definition import Definition
    from domain.errors import FieldError

LONGEST_WINDOW_SECONDS = 31_536_000  # a year
MOST_CAUGHT_UP = 1_000
MOST_RUNNING = 100
MOST_QUEUED = 1_000


def policy_errors(definition: Definition) -> Iterator[FieldError]:
    """What is wrong with the policies, and what could never have an effect beside the others."""
    yield from _catch_up_errors(definition)
    yield from _overlap_errors(definition)
    yield from range_errors(("priority",), definition.priority, FIRST_PRIORITY, LAST_PRIORITY)


def normal_overlap(overlap: Overlap) -> Overlap:
    """An admissible policy as it is stored: what bounds its mode is explicit, what does not is null."""
    if overlap.mode == "allow":
        return overlap
    running = 1 if overlap.max_running is None else overlap.max_running
    queued = (
        USUAL_QUEUED if overlap.mode == "queue_all" and overlap.max_queued is None else overlap.max_queued
    )
    return replace(overlap, max_running=running, max_queued=queued)


def _catch_up_errors(definition: Definition) -> Iterator[FieldError]:
    catch_up, overlap = definition.catch_up, definition.overlap
    if catch_up.max_runs is not None and catch_up.mode != "all":
        detail = 'max_runs bounds the mode "all" only: leave it out, or give catch_up.mode "all".'
        yield wrong("catch_up", "max_runs", detail=detail)
    else:
        yield from range_errors(("catch_up", "max_runs"), catch_up.max_runs, 1, MOST_CAUGHT_UP)
    if catch_up.window_seconds is not None and catch_up.mode == "skip":
        detail = (
            'With mode "skip" nothing late runs: leave window_seconds out, or give catch_up.mode "latest".'
        )
        yield wrong("catch_up", "window_seconds", detail=detail)
    else:
        where = ("catch_up", "window_seconds")
        yield from range_errors(where, catch_up.window_seconds, 1, LONGEST_WINDOW_SECONDS)
    if catch_up.mode == "all" and isinstance(definition.trigger, OneOff):
        detail = 'A one-off has one occurrence: give mode "latest" (it runs late), or "skip" (it does not).'
        yield wrong("catch_up", "mode", detail=detail)
    elif catch_up.mode == "all" and overlap.mode not in ("allow", "queue_all"):
        detail = (
            f'overlap.mode "{overlap.mode}" would skip or cut off most of what the mode "all" catches up: '
            'give overlap.mode "queue_all" or "allow".'
        )
        yield wrong("catch_up", "mode", detail=detail)


def _overlap_errors(definition: Definition) -> Iterator[FieldError]:
    overlap = definition.overlap
    if overlap.max_running is not None and overlap.mode == "allow":
        detail = 'The mode "allow" has no bound: leave max_running out, or give another mode.'
        yield wrong("overlap", "max_running", detail=detail)
    else:
        yield from range_errors(("overlap", "max_running"), overlap.max_running, 1, MOST_RUNNING)
    if overlap.max_queued is not None and overlap.mode != "queue_all":
        detail = (
            'max_queued bounds the mode "queue_all" only: leave it out, or give overlap.mode "queue_all".'
        )
        yield wrong("overlap", "max_queued", detail=detail)
    else:
        yield from range_errors(("overlap", "max_queued"), overlap.max_queued, 1, MOST_QUEUED)
    if isinstance(definition.trigger, OneOff):
        yield from _lonely_overlap(overlap)


def _lonely_overlap(overlap: Overlap) -> Iterator[FieldError]:
    """A one-off may have the mode that tasks have when nothing is said, and none, as older ones do."""
    detail = "A one-off has one occurrence, which overlaps none: leave {name} out."
    if overlap.mode not in ("allow", "skip"):
        yield wrong("overlap", "mode", detail=detail.format(name="overlap"))
    elif overlap.mode == "skip" and 2 <= (overlap.max_running or 1) <= MOST_RUNNING:
        yield wrong("overlap", "max_running", detail=detail.format(name="max_running"))
