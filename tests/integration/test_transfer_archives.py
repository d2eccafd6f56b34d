"""A log of which months are in archives is exported whole, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from application.ports import ArchiveAway
from infrastructure.transfer import export as reading
from infrastructure.transfer.errors import PartsArchived, TargetArchived
from infrastructure.transfer.export import export_events
from infrastructure.transfer.format import Selection
from infrastructure.transfer.replay import replay_events
from tests.support.archives import Archivist, filled
from tests.support.months import FEBRUARY, JANUARY, MARCH, TASKS
from tests.support.projecting import connect
from tests.support.sealing import seal, verified
from tests.support.transfers import Interrupted, Progress, events, export, import_, seals


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many."""
    monkeypatch.setattr(reading, "PART_EVENTS", 20)


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, days=6)
    async with await connect(database) as connection:
        await seal(connection)
    return Archivist(database, tmp_path / "archives")


@pytest.fixture
def before(archivist: Archivist) -> Sequence[tuple[Any, ...]]:
    """What the log held before two of its months were archived."""
    rows = events(archivist.dsn)
    archivist.archive(FEBRUARY)
    archivist.archive(JANUARY)
    return rows


async def test_a_log_is_exported_with_what_lies_in_archives(
    archivist: Archivist, before: Sequence[tuple[Any, ...]], other_database: str, tmp_path: Path
) -> None:
    manifest = export(archivist.dsn, tmp_path / "log.zst", catalog=archivist.catalog)
    assert manifest.whole
    import_(other_database, tmp_path / "log.zst")
    assert events(other_database) == before
    assert seals(other_database) == seals(archivist.dsn)
    assert (await verified(other_database))[1].findings == []


def test_an_export_goes_on_whatever_was_archived_or_restored_meanwhile(
    archivist: Archivist, before: Sequence[tuple[Any, ...]], other_database: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.zst"
    for move, month in ((archivist.archive, MARCH), (archivist.restore, JANUARY)):
        with pytest.raises(Interrupted):
            export(archivist.dsn, path, Selection(), Progress("exported", 2), catalog=archivist.catalog)
        move(month)
    manifest = export(archivist.dsn, path, catalog=archivist.catalog)
    assert manifest.events == len(before)
    import_(other_database, path)
    assert events(other_database) == before


def test_a_replay_copies_what_lies_in_archives(
    archivist: Archivist, before: Sequence[tuple[Any, ...]], other_database: str
) -> None:
    until = before[len(before) // 2][4]
    with pytest.raises(Interrupted):
        replay_events(archivist.dsn, other_database, until, Progress("stored", 2), archivist.catalog)
    done = replay_events(archivist.dsn, other_database, until, Progress(), archivist.catalog)
    assert 0 < done.stored < done.events
    assert events(other_database) == [row for row in before if row[4] <= until]


@pytest.mark.usefixtures("before")
def test_an_archive_that_is_away_is_named_and_nothing_is_exported_without_it(
    archivist: Archivist, other_database: str, tmp_path: Path
) -> None:
    name = next(archivist.folder.glob("2026-01*")).name
    (archivist.folder / name).unlink()
    with pytest.raises(ArchiveAway, match=name):
        export(archivist.dsn, tmp_path / "a.zst", catalog=archivist.catalog)
    with pytest.raises(ArchiveAway, match=name):
        replay_events(archivist.dsn, other_database, 100, Progress(), archivist.catalog)
    assert not list(tmp_path.glob("a.zst*"))
    assert events(other_database) == []


@pytest.mark.parametrize(
    "selection", [Selection(namespace="default"), Selection(task_id=TASKS[0]), Selection(first=3)]
)
def test_a_part_of_a_log_is_refused_while_archived_months_may_belong_to_it(
    archivist: Archivist, before: Sequence[tuple[Any, ...]], selection: Selection, tmp_path: Path
) -> None:
    with pytest.raises(PartsArchived, match=r"archive restore 2026-01` first"):
        export(archivist.dsn, tmp_path / "a.zst", selection, Progress(), catalog=archivist.catalog)
    assert not list(tmp_path.glob("a.zst*")), "so that what may be asked for instead can have the name"
    late = Selection(namespace="default", first=before[-3][4])
    assert export(archivist.dsn, tmp_path / "b.zst", late).events == 3


def test_a_part_of_a_log_is_refused_when_a_month_leaves_meanwhile(
    archivist: Archivist, tmp_path: Path
) -> None:
    class Archiving(Progress):
        def __call__(self, stage: str, position: int, until: int) -> None:
            super().__call__(stage, position, until)
            if self.count("exported") == 2:
                archivist.archive(FEBRUARY)

    with pytest.raises(PartsArchived, match="2026-02"):
        export_events(archivist.dsn, tmp_path / "a.zst", Selection(task_id=TASKS[0]), Archiving())


@pytest.mark.usefixtures("before")
def test_a_database_that_knows_of_archives_takes_no_other_log(
    archivist: Archivist, other_database: str, tmp_path: Path
) -> None:
    export(archivist.dsn, tmp_path / "a.zst", catalog=archivist.catalog)
    with psycopg.connect(archivist.dsn) as source, psycopg.connect(other_database) as target:
        names = [column.name for column in source.execute("SELECT * FROM archives").description or ()]
        row = source.execute("SELECT * FROM archives LIMIT 1").fetchone()
        places = ", ".join(["%s"] * len(names))
        target.execute(f"INSERT INTO archives ({', '.join(names)}) VALUES ({places})".encode(), row)
    with pytest.raises(TargetArchived, match="choose an empty database"):
        import_(other_database, tmp_path / "a.zst")
    with pytest.raises(TargetArchived, match="choose an empty database"):
        replay_events(archivist.dsn, other_database, 100, Progress(), archivist.catalog)
    assert events(other_database) == []
