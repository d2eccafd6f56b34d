"""A log exported and imported: every event as it was, however often either side was interrupted."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.facts import EventsRedacted, Rewritten
from domain.identity import redaction_stream
from infrastructure.postgres import with_liveness
from infrastructure.transfer import export as reading
from infrastructure.transfer.database import append, connected
from infrastructure.transfer.errors import (
    ArchiveDamaged,
    ArchiveTaken,
    NoSuchNamespace,
    NoSuchTask,
    NotTheWholeLog,
    RedactedMeanwhile,
    StreamsCut,
    TargetInUse,
    TargetNotEmpty,
    TransferRefused,
)
from infrastructure.transfer.format import (
    Block,
    Head,
    Header,
    Manifest,
    Node,
    Seal,
    Selection,
    Totals,
    frame,
    frames,
    written_seals,
)
from tests.support.entries import NOON, created
from tests.support.projecting import connect
from tests.support.service import PROGRAM
from tests.support.stored import append as append_facts
from tests.support.transfers import (
    Interrupted,
    Progress,
    append_one,
    events,
    export,
    exported_and_imported,
    fill,
    import_,
    plant_odd_states,
    read_models,
)

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many."""
    monkeypatch.setattr(reading, "PART_EVENTS", 50)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "log.ndjson.zst"


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with some 700 events."""
    asyncio.run(fill(database))
    return database


def test_every_event_arrives_as_it_was_and_the_read_models_with_them(
    log: str, other_database: str, archive: Path
) -> None:
    plant_odd_states(log)
    export(log, archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert import_(other_database, archive).stored == len(events(log))
    assert import_(other_database, archive).stored == 0
    assert events(other_database) == events(log)
    assert asyncio.run(read_models(other_database)) == asyncio.run(read_models(log))


def test_an_empty_log_arrives_empty(database: str, other_database: str, archive: Path) -> None:
    export(database, archive)
    assert import_(other_database, archive).stored == 0


def test_the_log_goes_on_behind_what_was_imported_and_stays_append_only(
    log: str, other_database: str, archive: Path
) -> None:
    export(log, archive)
    import_(other_database, archive)
    assert append_one(other_database) == events(log)[-1][4] + 1
    with psycopg.connect(other_database) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute("DELETE FROM events")


@pytest.mark.parametrize("parts", [1, 7])
def test_an_interrupted_export_goes_on_with_what_it_was_begun_with(
    log: str, tmp_path: Path, archive: Path, parts: int
) -> None:
    export(log, archive)
    broken = tmp_path / "broken.zst"
    with pytest.raises(Interrupted):
        export(log, broken, report=Progress("exported", parts))
    append_one(log)
    progress, begun = Progress(), list[int]()
    export(log, broken, report=progress, went_on=begun.append)
    assert begun == [events(log)[-2][4]]
    assert broken.read_bytes() == archive.read_bytes()
    assert progress.count("exported") < 20 - parts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.zst", "log.ndjson.zst"]


@pytest.mark.parametrize("selection", [Selection(), Selection(namespace="other")])
def test_an_export_of_which_no_part_was_written_begins_anew(
    log: str, archive: Path, selection: Selection
) -> None:
    """A kill leaves it so, and it is in nobody's way."""
    header = frame(Header(selection=selection, head=events(log)[-1][4]))
    archive.with_name(f"{archive.name}.part").write_bytes(header)
    last, begun = append_one(log), list[int]()
    assert export(log, archive, went_on=begun.append).last == last
    assert begun == []


def test_an_export_goes_on_wherever_a_crash_has_cut_it_off(log: str, tmp_path: Path, archive: Path) -> None:
    export(log, archive)
    whole = archive.read_bytes()
    for length in (0, 150, 151, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)):
        broken = tmp_path / f"broken-{length}.zst"
        broken.with_name(f"{broken.name}.part").write_bytes(whole[:length])
        export(log, broken)
        assert broken.read_bytes() == whole, length


def test_an_interrupted_import_goes_on_behind_its_last_part(
    log: str, other_database: str, archive: Path
) -> None:
    export(log, archive)
    for parts in (0, 3, 2):
        with pytest.raises(Interrupted):
            import_(other_database, archive, Progress("stored", parts))
    before = len(events(other_database))
    assert import_(other_database, archive).stored == len(events(log)) - before > 0
    assert events(other_database) == events(log)


@pytest.mark.parametrize("begun", [False, True])
def test_a_database_with_events_of_its_own_is_left_alone(
    log: str, other_database: str, archive: Path, *, begun: bool
) -> None:
    export(log, archive)
    if begun:
        with pytest.raises(Interrupted):
            import_(other_database, archive, Progress("stored", 3))
    append_one(other_database)
    before = events(other_database)
    with pytest.raises(TargetNotEmpty, match=f"holds {len(before)} events"):
        import_(other_database, archive)
    assert events(other_database) == before


def test_nothing_is_imported_beside_a_service_or_another_import(
    log: str, other_database: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(log, archive)
    with psycopg.connect(with_liveness(other_database)), pytest.raises(TargetInUse, match="stop them first"):
        import_(other_database, archive)
    with psycopg.connect(other_database) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended('chronoledger.events', 0))")
        with pytest.raises(TargetInUse, match="somebody else writes"):
            import_(other_database, archive)
    assert events(other_database) == []
    # A closed connection, such as that of the migrations, is counted until its process has ended.
    with psycopg.connect(with_liveness(other_database)) as leaving:
        monkeypatch.setattr(time, "sleep", lambda _: leaving.close())
        import_(other_database, archive)
    assert events(other_database) == events(log)


def test_what_was_not_written_by_this_export_is_not_overwritten(log: str, archive: Path) -> None:
    unfinished = archive.with_name("log.ndjson.zst.part")
    for path, said in ((unfinished, "no beginning of an export"), (archive, "is there already")):
        path.write_bytes(b"precious")
        with pytest.raises(ArchiveTaken, match=said):
            export(log, archive)
        assert path.read_bytes() == b"precious"
        path.unlink()

    def another(*_: object) -> None:
        with pytest.raises(ArchiveTaken, match="another export writes"):
            export(log, archive)

    reading.export_events(log, archive, Selection(), another)


def test_an_export_is_not_gone_on_with_for_another_selection_or_log(
    log: str, other_database: str, archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        export(log, archive, report=Progress("exported", 3))
    with pytest.raises(ArchiveTaken, match=r"another export \(all events\)"):
        export(log, archive, Selection(namespace="other"))
    with pytest.raises(ArchiveTaken, match="of another log"):
        export(other_database, archive)
    exported_and_imported(log, other_database, tmp_path / "a.zst", Selection(last=events(log)[333][4]))
    with pytest.raises(ArchiveTaken, match="of another log"):  # that went less far
        export(other_database, archive)
    export(log, archive)


def test_a_folder_that_is_not_there_is_told(log: str, tmp_path: Path) -> None:
    with pytest.raises(TransferRefused, match="No such file"):
        export(log, tmp_path / "nowhere" / "log.zst")
    with pytest.raises(TransferRefused, match="No such file"):
        import_(log, tmp_path / "nowhere.zst")


def test_a_prefix_is_a_log_of_its_own_when_that_is_asked_for(
    log: str, other_database: str, archive: Path
) -> None:
    last = events(log)[333][4]
    export(log, archive, Selection(last=last))
    with pytest.raises(NotTheWholeLog, match=f"to event {last}"):
        import_(other_database, archive)
    assert events(other_database) == []
    import_(other_database, archive, partial=True)
    assert events(other_database) == events(log)[:334]


def redaction(position: int, task: UUID, version: int = 1) -> NewFact:
    """What tells that an event of a task was rewritten."""
    fact = EventsRedacted(at=NOON, task_id=task, rewritten=(Rewritten(position, task, "00"),))
    return NewFact(redaction_stream(task), version, fact)


async def fill_with_redacted_tasks(dsn: str, tasks: dict[UUID, str]) -> None:
    """Tasks, each in a namespace, and what tells of the redaction of each, in a stream of several events."""
    async with await connect(dsn) as connection:
        for task, namespace in tasks.items():
            begun = NewFact(task, 1, replace(created(stream=task).fact, namespace=namespace))
            await append_facts(connection, [begun, redaction(1, task), redaction(1, task, 2)])


def plant_task(dsn: str, state: bytes) -> None:
    """Add a stream that begins so."""
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO events VALUES (gen_random_uuid(), 1, 'task.created.v1', %s)", [state])


def selected(dsn: str, selection: Selection) -> Sequence[tuple[Any, ...]]:
    """The rows of a selection."""
    with connected(dsn) as connection:
        return [row for portion in reading.portions(connection, selection, 0, 1_000) for row in portion.rows]


def by_beginning(log: str, wanted: Callable[[UUID, dict[str, Any]], bool]) -> Sequence[tuple[Any, ...]]:
    """The events of the streams whose first fact is wanted."""
    rows = events(log)
    streams = {row[0] for row in rows if row[1] == 1 and wanted(row[0], msgspec.json.decode(row[3])["fact"])}
    return [row for row in rows if row[0] in streams]


def test_a_namespace_is_what_its_streams_begin_with(log: str, other_database: str, archive: Path) -> None:
    tasks = {
        str(row[0]): msgspec.json.decode(row[3])["fact"]["namespace"]
        for row in events(log, "topic = 'task.created.v1'")
    }

    def of_other(_: UUID, fact: dict[str, Any]) -> bool:
        named = tasks[fact["task_id"]] if "rewritten" in fact else fact.get("occurrence", fact)["namespace"]
        return bool(named == "other")

    expected = by_beginning(log, of_other)
    assert 0 < len(expected) < len(events(log))
    assert exported_and_imported(log, other_database, archive, Selection(namespace="other")) == expected


def test_a_task_comes_with_all_that_became_of_it(log: str, other_database: str, archive: Path) -> None:
    runs = [
        msgspec.json.decode(row[3])["fact"]["occurrence"]["task_id"]
        for row in events(log, "topic = 'execution.started.v1'")
    ]
    task = max(set(runs), key=runs.count)

    def of_task(stream: UUID, fact: dict[str, Any]) -> bool:
        return task in {str(stream), fact.get("occurrence", fact).get("task_id")}

    expected = by_beginning(log, of_task)
    assert len({row[0] for row in expected}) > 2
    assert exported_and_imported(log, other_database, archive, Selection(task_id=UUID(task))) == expected


def test_a_payload_that_names_a_namespace_or_a_task_belongs_to_no_other(
    database: str, other_database: str, tmp_path: Path
) -> None:
    plant_task(database, b'{"meta":{},"fact":{"namespace":"mine","payload":{"namespace":"other"}}}')
    with pytest.raises(NoSuchNamespace, match='no task of the namespace "other"'):
        export(database, tmp_path / "a.zst", Selection(namespace="other"))
    assert selected(database, Selection(namespace="other")) == []
    mine = exported_and_imported(database, other_database, tmp_path / "b.zst", Selection(namespace="mine"))
    assert mine == events(database)
    asyncio.run(fill_with_redacted_tasks(database, {UUID(int=7): "mine"}))
    plant_task(database, b'{"meta":{},"fact":{"payload":{"task_id":"%s"}}}' % str(UUID(int=7)).encode())
    assert [row[0] for row in selected(database, Selection(task_id=UUID(int=7)))] == [2, 3, 4]


@pytest.mark.parametrize("is_execution", [False, True])
def test_a_task_that_nobody_knows_is_refused_and_no_file_is_left(
    log: str, tmp_path: Path, *, is_execution: bool
) -> None:
    unknown = events(log, "topic = 'execution.started.v1'")[0][0] if is_execution else UUID(int=7)
    with pytest.raises(NoSuchTask, match=f"there is no task {unknown} in the log"):
        export(log, tmp_path / "a.zst", Selection(task_id=unknown))
    assert list(tmp_path.iterdir()) == []


def test_what_tells_of_redactions_comes_with_their_tasks(
    database: str, other_database: str, archive: Path
) -> None:
    asyncio.run(fill_with_redacted_tasks(database, {UUID(int=1): "mine", UUID(int=2): "other"}))
    all_of_it = {row[4]: row for row in events(database)}
    for selection, positions in (
        (Selection(namespace="mine"), [1, 2, 3]),
        (Selection(namespace="other"), [4, 5, 6]),
        (Selection(task_id=UUID(int=1)), [1, 2, 3]),
    ):
        assert [row[0] for row in selected(database, selection)] == positions
    arrived = exported_and_imported(database, other_database, archive, Selection(namespace="other"))
    assert arrived == [all_of_it[position] for position in (4, 5, 6)]


def test_what_begins_in_the_middle_of_streams_is_not_imported(
    log: str, other_database: str, archive: Path
) -> None:
    manifest = export(log, archive, Selection(first=events(log)[300][4]))
    kept = {(row[0], row[1]) for row in events(log)[300:]}
    assert manifest.cut == sum(version > 1 and (stream, version - 1) not in kept for stream, version in kept)
    with pytest.raises(StreamsCut, match=f"{manifest.cut} events of "):
        import_(other_database, archive, partial=True)
    rows = [(row[4], *row[:4], row[5]) for row in events(log)]
    broken = next(place for place, row in enumerate(rows) if row[2] > 1)
    with connected(other_database) as connection, pytest.raises(StreamsCut, match=f"event {rows[broken][0]}"):
        append(connection, rows[broken:])
    assert events(other_database) == []


PREFIX = 333


def redact(dsn: str, position: int) -> None:
    """Record that an event was rewritten."""

    async def recorded() -> None:
        async with await connect(dsn) as connection:
            await append_facts(connection, [redaction(position, uuid4())])

    asyncio.run(recorded())


@pytest.mark.parametrize(("position", "refused"), [(PREFIX, True), (PREFIX + 1, False)])
def test_an_export_amid_which_its_events_are_redacted_ends_without_an_archive(
    log: str, archive: Path, position: int, *, refused: bool
) -> None:
    class Redacting(Progress):
        def __call__(self, stage: str, reached: int, until: int) -> None:
            if not reached:
                redact(log, position)

    if refused:
        with pytest.raises(RedactedMeanwhile, match=r"log\.ndjson\.zst\.part .* remove it, and start again"):
            export(log, archive, Selection(last=PREFIX), Redacting())
        assert not archive.exists()
    else:
        assert export(log, archive, Selection(last=PREFIX), Redacting()).last == PREFIX


def test_an_export_that_was_begun_before_a_redaction_is_not_gone_on_with(log: str, archive: Path) -> None:
    with pytest.raises(Interrupted):
        export(log, archive, report=Progress("exported", 3))
    redact(log, PREFIX)
    progress = Progress()
    with pytest.raises(RedactedMeanwhile):
        export(log, archive, report=progress)
    assert progress.heard == []
    archive.with_name(f"{archive.name}.part").unlink()
    assert export(log, archive).last == events(log)[-1][4]


def line(position: int, **otherwise: Any) -> bytes:
    """An event that is the first of its stream."""
    event: dict[str, Any] = {
        "position": position,
        "stream": f"00000000-0000-7000-8000-{position:012}",
        "version": 1,
        "topic": "odd.v1",
        "recorded_at": "2026-01-01T00:00:00Z",
        "state": {},
    }
    return msgspec.json.encode(event | otherwise) + b"\n"


def crafted(path: Path, lines: Sequence[bytes], seals: Sequence[Seal] = ()) -> Path:
    """An archive of one part that is said to go from position 1 to 3."""
    totals = Totals(Header(selection=Selection(), head=3))
    pieces = [frame(totals.header)]
    content = b"".join(lines)
    pieces.append(frame(totals.add(content, len(lines), 1, 3, 0), content))
    if seals:
        content = written_seals(seals)
        pieces.append(frame(totals.add_seals(content, seals), content))
    path.write_bytes(b"".join((*pieces, frame(totals.manifest()))))
    return path


FIRST = "00000000-0000-7000-8000-000000000001"
EVENTS = {
    "a position twice": [line(1), line(2), line(2, stream="00000000-0000-7000-8000-000000000009"), line(3)],
    "a version twice": [line(1), line(2, stream=FIRST), line(3)],
    "no version": [line(1, version=0), line(3)],
    "a version that no column holds": [line(1, version=2**64), line(3)],
    "a topic that no text is": [line(1, topic="a\0b"), line(3)],
    "an instant without an offset": [line(1, recorded_at="2026-01-01T00:00:00"), line(3)],
    "an instant before the calendar": [line(1, recorded_at="0001-01-01T00:00:00+14:00"), line(3)],
}
SEALS: dict[str, Seal] = {
    "a block of no leaves": Block(0, -1, 1, 3, b"", b"", b""),
    "a block that no column holds": Block(2**64, 1, 1, 3, b"", b"", b""),
    "a node of no level": Node(2**64, 0, b""),
    "a head by a key that is not there": Head(
        2, b"x", 3, datetime(2026, 1, 1, tzinfo=UTC), b"key", b"signature"
    ),
}


@pytest.mark.parametrize("lines", EVENTS.values(), ids=EVENTS)
def test_events_that_no_log_holds_are_refused(database: str, archive: Path, lines: Sequence[bytes]) -> None:
    with pytest.raises(ArchiveDamaged, match="nothing of it is trusted"):
        import_(database, crafted(archive, lines))


@pytest.mark.parametrize("seal", SEALS.values(), ids=SEALS)
def test_seals_that_no_log_has_are_refused(database: str, archive: Path, seal: Seal) -> None:
    with pytest.raises(TransferRefused):
        import_(database, crafted(archive, [line(1), line(3)], [seal]))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command, in a folder of its own."""

    def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env={"DATABASE_URL": dsn, "LOG_DIR": str(tmp_path / "logs")},
        )

    return command


def held(path: Path) -> tuple[int | None, int | None]:
    """The first and the last position of an archive."""
    with path.open("rb") as file:
        *_, end = frames(path, file)
    assert isinstance(end.record, Manifest)
    return end.record.first, end.record.last


def test_a_log_is_exported_and_imported_in_two_commands(log: str, other_database: str, run: Run) -> None:
    rows = events(log)
    what = f"{len(rows)} events, from {rows[0][4]} to {rows[-1][4]}"
    exported = run(log, "export", "--out", "log.zst")
    assert (exported.returncode, exported.stdout) == (0, f"{what} in log.zst\n"), exported.stderr
    imported = run(other_database, "import", "log.zst")
    assert imported.returncode == 0, imported.stderr
    said = imported.stdout.splitlines()
    assert said[0] == f"{what} as in log.zst"
    assert said[1].startswith("rebuilt tasks, task_results, statistics up to event ")
    assert events(other_database) == rows
    again = run(other_database, "import", "log.zst")
    assert again.stdout.splitlines()[0] == f"{what} as in log.zst; {len(rows)} were there"


def test_places_are_positions_or_instants_and_are_within(log: str, run: Run, tmp_path: Path) -> None:
    rows = events(log)
    instants = sorted({row[5] for row in rows})
    second, last = instants[1], instants[-2]
    first_of_second = next(row[4] for row in rows if row[5] == second)
    last_of_last = [row[4] for row in rows if row[5] == last][-1]
    for name, first, until, expected in (
        ("at", second.isoformat(), last.isoformat(), (first_of_second, last_of_last)),
        ("between", (second - timedelta(microseconds=1)).isoformat(), "250", (first_of_second, 250)),
        ("positions", "7", str(rows[-1][4]), (7, rows[-1][4])),
        ("ever", "0001-01-01T00:00:00Z", "1", (1, 1)),
    ):
        exported = run(log, "export", "--out", f"{name}.zst", "--from", first, "--to", until)
        assert exported.returncode == 0, exported.stderr
        assert "This is a part of a log (from event " in exported.stdout
        assert held(tmp_path / f"{name}.zst") == expected, name


UNKNOWN = "00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        *(
            (["--to", place], 2, "neither a position of the log")
            for place in ("yesterday", "-1", "2026-01-01T00:00:00")
        ),
        (["--from", "2999-01-01T00:00:00Z"], 1, "give an earlier one"),
        (["--from", "9", "--to", "3"], 2, "--from lies behind --to"),
        (
            ["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-02T00:00:00+01:00"],
            2,
            "--from lies behind --to",
        ),
        (["--task", UNKNOWN], 1, f"there is no task {UNKNOWN} in the log"),
        (["--namespace", "nobody's"], 1, 'there is no task of the namespace "nobody\'s" in the log'),
    ],
)
def test_an_export_that_cannot_be_done_is_told(
    database: str, run: Run, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    append_one(database)
    refused = run(database, "export", "--out", "a.zst", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert list(tmp_path.glob("a.zst*")) == []


def test_an_import_that_cannot_be_done_is_told(
    log: str, other_database: str, run: Run, tmp_path: Path
) -> None:
    latest = str(events(log, "topic = 'task.created.v1'")[-1][0])
    exported = run(log, "export", "--out", "part.zst", "--task", latest, "--to", "1")
    assert exported.stdout.splitlines()[0] == "no events in part.zst"
    partial = run(other_database, "import", "part.zst")
    assert partial.returncode == 1
    [sentence] = partial.stderr.splitlines()
    assert sentence.endswith(f"(task {latest}, to event 1): add --partial to make a log of that part alone")
    assert run(other_database, "import", "part.zst", "--partial").returncode == 0
    (tmp_path / "text.zst").write_text("text")
    damaged = run(other_database, "import", "text.zst")
    assert damaged.returncode == 1
    assert "text.zst is no zstd file" in damaged.stderr
