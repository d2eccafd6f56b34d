"""Another release, or other sources, fold the log in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infrastructure.projector.workplace import fold_of, this_fold

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sql").mkdir()
    (tmp_path / "tasks.py").write_text("count + 1")
    (tmp_path / "sql" / "put.sql").write_text("INSERT")
    return tmp_path


def test_a_fold_is_the_same_wherever_its_sources_lie_and_however_often_they_were_run(folder: Path) -> None:
    before = fold_of("1.0", folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "tasks.pyc").write_bytes(b"compiled")
    assert fold_of("1.0", folder) == before
    assert this_fold() == this_fold()


@pytest.mark.parametrize("name", ["tasks.py", "sql/put.sql", "sql/other.sql", "other.py"])
def test_a_changed_source_makes_another_fold(folder: Path, name: str) -> None:
    before = fold_of("1.0", folder)
    (folder / name).write_text("count + 2")
    assert fold_of("1.0", folder) != before


def test_what_moves_between_sources_makes_another_fold(folder: Path) -> None:
    before = fold_of("1.0", folder)
    (folder / "tasks.py").rename(folder / "results.py")
    assert fold_of("1.0", folder) != before


def test_another_release_folds_in_another_way(folder: Path) -> None:
    assert fold_of("1.0", folder) != fold_of("1.1", folder)
