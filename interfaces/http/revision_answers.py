"""The JSON of a task's revisions and of what they differ in."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from interfaces.http.bodies import TaskDefinition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application import revisions


class RevisionSummary(Struct, frozen=True, kw_only=True):
    """A change of a task's definition."""

    number: Annotated[int, Meta(description="Counts the definitions that the task had, from 1.")]
    version: Annotated[int, Meta(description="Of the task, right after the change.")]
    position: Annotated[int, Meta(description="Of the change in the log.")]
    at: Annotated[datetime, Meta(description="When it was decided.")]
    actor: Annotated[str, Meta(description="Who decided.")]
    correlation_id: Annotated[str, Meta(description="The `X-Request-ID` of the request that led to it.")]
    address: Annotated[
        str | None, Meta(description="The IP address that it was asked for from; null: none is known.")
    ]
    reason: Annotated[str | None, Meta(description="The `X-Change-Reason` of the request, if it had one.")]
    kind: Literal["created", "updated", "rolled_back"]
    rolled_back_to: Annotated[
        int | None, Meta(description="The revision whose definition it took again; null: it was no rollback.")
    ]
    changed: Annotated[
        list[str],
        Meta(description="The members that differ from the revision before; none of the first one."),
    ]

    @classmethod
    def of(cls, revision: revisions.Revision) -> RevisionSummary:
        """A revision without its definition."""
        return cls(**_told(revision, RevisionSummary))


class Revision(RevisionSummary, frozen=True, kw_only=True):
    """A change of a task's definition, and the whole of what it led to."""

    # As in `Task`, the domain's definition itself: its JSON has the members that are annotated.
    definition: Annotated[TaskDefinition, Meta(description="As `PUT` takes it.")]

    @classmethod
    def of(cls, revision: revisions.Revision) -> Revision:
        """A revision with its definition."""
        definition: Any = revision.definition
        return cls(**_told(revision, RevisionSummary), definition=definition)


class RevisionPage(Struct, frozen=True, kw_only=True):
    """Some revisions, the latest first."""

    items: list[RevisionSummary]
    total: Annotated[int, Meta(description="How many revisions the task has: the number of the latest.")]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null: no more.")]

    @classmethod
    def of(cls, found: Sequence[revisions.Revision], before: int | None, limit: int) -> RevisionPage:
        """Of all revisions, those up to `limit` before a number."""
        end = len(found) if before is None else min(before - 1, len(found))
        start = max(0, end - limit)
        return cls(
            items=[RevisionSummary.of(revision) for revision in reversed(found[start:end])],
            total=len(found),
            next_before=start + 1 if start else None,
        )


class MemberChange(Struct, frozen=True, kw_only=True):
    """A member of the definition that differs."""

    pointer: Annotated[str, Meta(description="JSON pointer (RFC 6901) into the definition.")]
    old: Annotated[Any, Meta(description="Left out: there was none.")] | UnsetType = UNSET
    new: Annotated[Any, Meta(description="Left out: there is none.")] | UnsetType = UNSET


class Diff(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What changed from one revision to another."""

    from_: Annotated[int, Meta(description="Whose values are `old`.")]
    to: Annotated[int, Meta(description="Whose values are `new`.")]
    changes: Annotated[
        list[MemberChange],
        Meta(description="In the order of a definition; arrays are compared as a whole."),
    ]

    @classmethod
    def of(cls, compared: revisions.Compared) -> Diff:
        """A comparison as it is shown."""
        changes = [MemberChange(pointer=one.pointer, old=one.old, new=one.new) for one in compared.changes]
        return cls(from_=compared.old.number, to=compared.new.number, changes=changes)


def _told(revision: revisions.Revision, shape: type[Struct]) -> dict[str, Any]:
    return {name: getattr(revision, name) for name in shape.__struct_fields__}
