"""A log exported and imported: every event as it was, however often either side was interrupted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres import with_liveness
from infrastructure.transfer import export as reading
from infrastructure.transfer.errors import (
    ArchiveTaken,
    NotTheWholeLog,
    TargetInUse,
    TargetNotEmpty,
    TransferRefused,
)
from infrastructure.transfer.export import export_events
from infrastructure.transfer.format import Header, Selection, frame
from infrastructure.transfer.imports import import_events
from tests.support.transfers import (
    Interrupted,
    Progress,
    append_one,
    events,
    fill,
    plant_odd_states,
    read_models,
)


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
    plant_odd_states(database)
    return database


def exported(dsn: str, path: Path, told: Progress | None = None) -> None:
    export_events(dsn, path, Selection(), told or Progress())


def imported(dsn: str, path: Path, told: Progress | None = None) -> int:
    return import_events(dsn, path, partial=False, report=told or Progress()).stored


def test_every_event_arrives_as_it_was_and_the_read_models_with_them(
    log: str, other_database: str, archive: Path
) -> None:
    exported(log, archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert imported(other_database, archive) == len(events(log))
    assert events(other_database) == events(log)
    assert asyncio.run(read_models(other_database)) == asyncio.run(read_models(log))


def test_an_empty_log_arrives_empty(database: str, other_database: str, archive: Path) -> None:
    exported(database, archive)
    assert imported(other_database, archive) == 0


def test_the_log_goes_on_behind_what_was_imported_and_stays_append_only(
    log: str, other_database: str, archive: Path
) -> None:
    exported(log, archive)
    imported(other_database, archive)
    assert append_one(other_database) == events(log)[-1][4] + 1
    with psycopg.connect(other_database) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute("DELETE FROM events")


@pytest.mark.parametrize("parts", [1, 7])
def test_an_interrupted_export_goes_on_with_what_it_was_begun_with(
    log: str, tmp_path: Path, archive: Path, parts: int
) -> None:
    exported(log, archive)
    broken = tmp_path / "broken.zst"
    with pytest.raises(Interrupted):
        exported(log, broken, Progress("exported", parts))
    append_one(log)
    told, begun = Progress(), list[int]()
    export_events(log, broken, Selection(), told, went_on=begun.append)
    assert begun == [events(log)[-2][4]]
    assert broken.read_bytes() == archive.read_bytes()
    assert told.count("exported") < 20 - parts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.zst", "log.ndjson.zst"]


@pytest.mark.parametrize("selection", [Selection(), Selection(namespace="other")])
def test_an_export_of_which_no_part_was_written_begins_anew(
    log: str, archive: Path, selection: Selection
) -> None:
    """A kill leaves it so, and it is in nobody's way."""
    header = frame(Header(selection=selection, head=events(log)[-1][4]))
    archive.with_name(f"{archive.name}.part").write_bytes(header)
    last, begun = append_one(log), list[int]()
    assert export_events(log, archive, Selection(), Progress(), went_on=begun.append).last == last
    assert begun == []


def test_an_export_of_a_log_that_went_further_is_not_gone_on_with(
    log: str, other_database: str, archive: Path, tmp_path: Path
) -> None:
    export_events(log, tmp_path / "a.zst", Selection(last=events(log)[333][4]), Progress())
    import_events(other_database, tmp_path / "a.zst", partial=True, report=Progress())
    with pytest.raises(Interrupted):
        exported(log, archive, Progress("exported", 3))
    with pytest.raises(ArchiveTaken, match="of another log"):
        exported(other_database, archive)


def test_an_export_goes_on_wherever_a_crash_has_cut_it_off(log: str, tmp_path: Path, archive: Path) -> None:
    exported(log, archive)
    whole = archive.read_bytes()
    for length in (0, 150, 151, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)):
        broken = tmp_path / f"broken-{length}.zst"
        broken.with_name(f"{broken.name}.part").write_bytes(whole[:length])
        exported(log, broken)
        assert broken.read_bytes() == whole, length


def test_an_interrupted_import_goes_on_behind_its_last_part(
    log: str, other_database: str, archive: Path
) -> None:
    exported(log, archive)
    for parts in (0, 3, 2):
        with pytest.raises(Interrupted):
            imported(other_database, archive, Progress("stored", parts))
    before = len(events(other_database))
    assert imported(other_database, archive) == len(events(log)) - before > 0
    assert events(other_database) == events(log)


def test_importing_again_changes_nothing(log: str, other_database: str, archive: Path) -> None:
    exported(log, archive)
    imported(other_database, archive)
    assert imported(other_database, archive) == 0
    assert events(other_database) == events(log)


def test_a_database_with_events_of_its_own_is_left_alone(
    log: str, other_database: str, archive: Path
) -> None:
    exported(log, archive)
    append_one(other_database)
    before = events(other_database)
    with pytest.raises(TargetNotEmpty, match="holds 1 events"):
        imported(other_database, archive)
    assert events(other_database) == before


def test_a_database_whose_log_went_on_by_itself_is_left_alone(
    log: str, other_database: str, archive: Path
) -> None:
    exported(log, archive)
    with pytest.raises(Interrupted):
        imported(other_database, archive, Progress("stored", 3))
    append_one(other_database)
    before = events(other_database)
    with pytest.raises(TargetNotEmpty):
        imported(other_database, archive)
    assert events(other_database) == before


def test_nothing_is_imported_beside_a_service_or_another_import(
    log: str, other_database: str, archive: Path
) -> None:
    exported(log, archive)
    with psycopg.connect(with_liveness(other_database)), pytest.raises(TargetInUse, match="stop them first"):
        imported(other_database, archive)
    with psycopg.connect(other_database) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended('chronoledger.events', 0))")
        with pytest.raises(TargetInUse, match="somebody else writes"):
            imported(other_database, archive)
    assert events(other_database) == []


def test_who_is_about_to_leave_is_no_service(
    log: str, other_database: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed connection, such as that of the migrations, is counted until its process has ended."""
    exported(log, archive)
    with psycopg.connect(with_liveness(other_database)) as leaving:
        monkeypatch.setattr(time, "sleep", lambda _: leaving.close())
        imported(other_database, archive)
    assert events(other_database) == events(log)


def test_what_was_not_written_by_this_export_is_not_overwritten(log: str, archive: Path) -> None:
    unfinished = archive.with_name("log.ndjson.zst.part")
    unfinished.write_bytes(b"precious")
    with pytest.raises(ArchiveTaken, match="no beginning of an export"):
        exported(log, archive)
    assert unfinished.read_bytes() == b"precious"
    unfinished.unlink()
    archive.write_bytes(b"precious")
    with pytest.raises(ArchiveTaken, match="is there already"):
        exported(log, archive)
    assert archive.read_bytes() == b"precious"


def test_an_export_is_not_gone_on_with_for_another_selection_or_log(
    log: str, other_database: str, archive: Path
) -> None:
    with pytest.raises(Interrupted):
        exported(log, archive, Progress("exported", 3))
    with pytest.raises(ArchiveTaken, match=r"another export \(all events\)"):
        export_events(log, archive, Selection(namespace="other"), Progress())
    with pytest.raises(ArchiveTaken, match="of another log"):
        exported(other_database, archive)
    exported(log, archive)


def test_two_exports_do_not_write_to_one_file(log: str, archive: Path) -> None:
    def another(*_: object) -> None:
        with pytest.raises(ArchiveTaken, match="another export writes"):
            exported(log, archive)

    export_events(log, archive, Selection(), another)


def test_a_folder_that_is_not_there_is_told(log: str, tmp_path: Path) -> None:
    with pytest.raises(TransferRefused, match="No such file"):
        exported(log, tmp_path / "nowhere" / "log.zst")
    with pytest.raises(TransferRefused, match="No such file"):
        imported(log, tmp_path / "nowhere.zst")


def test_a_prefix_is_a_log_of_its_own_when_that_is_asked_for(
    log: str, other_database: str, archive: Path
) -> None:
    last = events(log)[333][4]
    export_events(log, archive, Selection(last=last), Progress())
    with pytest.raises(NotTheWholeLog, match=f"to event {last}"):
        imported(other_database, archive)
    assert events(other_database) == []
    import_events(other_database, archive, partial=True, report=Progress())
    assert events(other_database) == events(log)[:334]
