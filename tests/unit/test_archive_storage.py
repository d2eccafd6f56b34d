"""The folder of archives: what is kept is there whole, what is not is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from application.ports import ArchiveAway
from infrastructure.archive.storage import Folder, NoStorage, StorageUnset, StorageUnusable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "archives"
    with Folder(folder).writing() as (file, keep):
        file.write(b"january")
        assert names(folder) != ["2026-01"]
        keep("2026-01")
    assert names(folder) == ["2026-01"]
    source = Folder(folder).open("2026-01")
    assert (source.size, source.read(3, 3)) == (7, b"uar")


def test_nobody_else_can_read_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    with Folder(folder).writing() as (_, keep):
        [unfinished] = folder.iterdir()
        assert unfinished.stat().st_mode & 0o777 == 0o600
        keep("2026-01")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "2026-01").stat().st_mode & 0o777 == 0o600


def test_what_is_not_kept_is_gone(tmp_path: Path) -> None:
    def fail() -> None:
        with Folder(tmp_path).writing() as (file, _):
            file.write(b"some")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert names(tmp_path) == []


def test_what_a_killed_one_has_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-1").write_bytes(b"left")
    with Folder(tmp_path).writing() as (one, keep_one):
        assert len(names(tmp_path)) == 1
        with Folder(tmp_path).writing() as (other, keep_other):
            one.write(b"one")
            other.write(b"other")
            keep_other("other")
        keep_one("one")
    assert names(tmp_path) == ["one", "other"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StorageUnusable, match=r"ARCHIVE_DIR=.*file cannot be used"),
        Folder(tmp_path / "file").writing(),
    ):
        pass
    with pytest.raises(StorageUnset, match="ARCHIVE_DIR is not set"), NoStorage().writing():
        pass


def test_what_is_not_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(ArchiveAway, match="the archive 2026-01 is needed and cannot be read"):
        Folder(tmp_path).open("2026-01")
    with pytest.raises(ArchiveAway, match="no ARCHIVE_DIR is set"):
        NoStorage().open("2026-01")
