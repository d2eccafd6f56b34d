"""A verification on the command line: each finding, and the sum of it."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import msgspec

from domain.audit import Finding
from infrastructure.audit_log.verifying import Verified
from interfaces.cli.render import (
    MOST_TOLD,
    Progress,
    VerifyJsonLines,
    VerifyReport,
    VerifySentences,
    verify_report,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
CHANGED = Finding("event_changed", 7, 7, "it is not what was sealed")
BLOCK = Finding("block_changed", 7, 9, "it does not lead to its head")
CLEAN = Verified(
    events=1_200, position=1_300, sealed_at=NOON, unsealed=0, findings=0, first=None, pinned=True, witnessed=0
)
PIN = (
    "the public key is the one that is stored beside the heads, where whoever changes the log can change it "
    "too: pin yours with --key"
)


def test_a_finding_is_a_line_with_its_position() -> None:
    told = VerifySentences()
    assert told.found(CHANGED) == "position 7: it is not what was sealed"
    assert told.found(BLOCK) == "positions 7 to 9: it does not lead to its head"


def test_the_sum_says_what_was_compared_and_what_came_out() -> None:
    compared = (
        "1,200 events compared with their seals, up to position 1,300, sealed at 2030-01-01T12:00:00+00:00"
    )
    assert VerifySentences().ended(CLEAN).splitlines() == [compared, "nothing was changed"]
    witnessed = [
        VerifySentences().ended(CLEAN._replace(witnessed=number)).splitlines()[1] for number in (1, 2)
    ]
    assert witnessed == [
        "and with 1 head that was kept elsewhere",
        "and with 2 heads that were kept elsewhere",
    ]
    one = VerifySentences().ended(CLEAN._replace(events=1, position=1)).splitlines()[0]
    assert one.startswith("1 event compared with its seal, up to position 1, ")
    behind = [VerifySentences().ended(CLEAN._replace(unsealed=number)).splitlines()[1] for number in (1, 2)]
    assert behind == [
        "1 later event is not sealed yet, so nothing is known of it",
        "2 later events are not sealed yet, so nothing is known of them",
    ]
    changed = CLEAN._replace(findings=1, first=7, unsealed=3, pinned=False)
    assert VerifySentences().ended(changed).splitlines() == [
        compared,
        "3 later events are not sealed yet, so nothing is known of them",
        PIN,
        "the log was changed: 1 finding, the first at position 7",
    ]


def test_the_sum_says_how_much_was_rewritten_by_redactions() -> None:
    one = VerifySentences().ended(CLEAN._replace(rewritten=1, redacted_tasks=1)).splitlines()
    assert one[1:] == [
        "1 event was rewritten by the redaction of 1 task; "
        "that what it still holds is what it held is not proved",
        "nothing else was changed",
    ]
    several = VerifySentences().ended(CLEAN._replace(rewritten=1_500, redacted_tasks=2)).splitlines()
    assert several[1] == (
        "1,500 events were rewritten by the redactions of 2 tasks; "
        "that what they still hold is what they held is not proved"
    )
    total = msgspec.json.decode(VerifyJsonLines().ended(CLEAN._replace(rewritten=3, redacted_tasks=2)))
    assert (total["rewritten"], total["redacted_tasks"]) == (3, 2)


def test_a_key_that_has_signed_nothing_is_not_called_a_change_of_the_log() -> None:
    unknown = CLEAN._replace(unknown_key=True, findings=1, first=9)
    assert VerifySentences().ended(unknown).splitlines()[1:] == [
        "this is not proved to be the log that was sealed with the key of --key; nothing else was found"
    ]
    changed = VerifySentences().ended(unknown._replace(findings=2, first=7)).splitlines()
    assert changed[1:] == ["the log was changed: 2 findings, the first at position 7"]
    assert msgspec.json.decode(VerifyJsonLines().ended(unknown))["unknown_key"] is True


def test_where_nothing_is_sealed_no_key_is_spoken_of() -> None:
    empty = CLEAN._replace(events=0, sealed_at=None, pinned=False)
    assert VerifySentences().ended(empty) == "the log is empty"


def test_what_is_not_sealed_is_not_called_unchanged() -> None:
    empty = CLEAN._replace(events=0, sealed_at=None)
    assert VerifySentences().ended(empty) == "the log is empty"
    assert VerifySentences().ended(empty._replace(unsealed=2)).splitlines()[-1] == "nothing is sealed"


def test_people_are_told_some_findings_and_programs_all() -> None:
    output = StringIO()
    told = VerifyReport(VerifySentences(), output, Progress(StringIO()))
    for _ in range(MOST_TOLD + 5):
        told.found(CHANGED)
    told.verified(1_300, 1_300)
    told.ended(CLEAN._replace(findings=MOST_TOLD + 5, first=7))
    lines = output.getvalue().splitlines()
    assert lines[MOST_TOLD - 1].startswith("position 7")
    assert lines[MOST_TOLD] == "and 5 more; --json tells all of them"
    assert lines[-1] == "the log was changed: 25 findings, the first at position 7"


def test_as_json_every_line_is_an_object() -> None:
    told = VerifyJsonLines()
    finding, total = [msgspec.json.decode(line) for line in (told.found(BLOCK), told.ended(CLEAN))]
    assert finding == {"type": "finding", **msgspec.structs.asdict(BLOCK)}
    assert (total["type"], total["events"], total["findings"]) == ("sum", 1_200, 0)


def test_a_report_tells_in_either_way() -> None:
    assert isinstance(verify_report(as_json=True), VerifyReport)
    assert isinstance(verify_report(as_json=False), VerifyReport)
