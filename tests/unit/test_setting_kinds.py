"""Paths that cannot be used are told at the start, in one line, whatever the system says about them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from infrastructure.settings import WrongSetting, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORIES = ["DATA_DIR", "LOG_DIR", "ARCHIVE_DIR", "CHRONOLEDGER_PG_BIN"]


def problem(variable: str, value: str) -> str:
    """What is said about the value, after the sentence that every kind begins with."""
    with pytest.raises(WrongSetting) as caught:
        load({variable: value})
    (line,) = caught.value.lines
    assert line.startswith(f'{variable}="{value}" must be ')
    return line


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root may enter every directory: while this lasts it is nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("variable", DIRECTORIES)
def test_a_directory_below_one_that_may_not_be_entered(tmp_path: Path, variable: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with without_privileges():
        assert problem(variable, str(closed / "data")).endswith("(permission denied)")


@pytest.mark.parametrize("variable", DIRECTORIES)
def test_a_directory_below_a_file(variable: str) -> None:
    assert problem(variable, f"{__file__}/data").endswith("(not a directory)")


@pytest.mark.parametrize("variable", [*DIRECTORIES, "DB_PASSWORD_FILE"])
def test_the_home_of_a_user_that_does_not_exist(variable: str) -> None:
    assert problem(variable, "~no-such-user/data").endswith("(no such user)")


def test_a_directory_that_is_still_to_be_made_is_accepted(tmp_path: Path) -> None:
    assert load({"DATA_DIR": str(tmp_path / "new" / "data")}).data_dir == tmp_path / "new" / "data"


def test_archives_are_in_a_directory_or_a_bucket(tmp_path: Path) -> None:
    assert load({"ARCHIVE_DIR": str(tmp_path)}).archive_dir == str(tmp_path)
    for url in ("s3://ledger", "s3://ledger/deep/down"):
        assert load({"ARCHIVE_DIR": f" {url} "}).archive_dir == url
    assert load({"ARCHIVE_DIR": "s3://ledger/deep/"}).archive_dir == "s3://ledger/deep"
    for wrong in ("s3://", "s3:///deep", "https://ledger/deep", "s3://Ledger", "s3://ledger?deep"):
        assert "s3:// and a bucket's name" in problem("ARCHIVE_DIR", wrong)
