"""Where archives go: never to a place that nobody has named."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.archive.storage import StorageUnset
from infrastructure.settings import WrongSetting, load, with_archives
from interfaces.bootstrap.transfer import archive_before
from tests.support.months import JANUARY


def test_archives_are_beside_the_embedded_database_unless_another_place_is_named() -> None:
    own = with_archives(load({}), Path("data/archives"))
    assert (own.archive_dir, own.sources["ARCHIVE_DIR"]) == ("data/archives", "embedded")
    named = with_archives(load({"ARCHIVE_DIR": "s3://mine"}), Path("data/archives"))
    assert (named.archive_dir, named.sources["ARCHIVE_DIR"]) == ("s3://mine", "environment")


@pytest.mark.parametrize("database", [{"DATABASE_URL": "host=db"}, {"DB_HOST": "db"}])
def test_nothing_is_archived_from_a_configured_database_to_nowhere(database: dict[str, str]) -> None:
    with pytest.raises(WrongSetting, match="RETENTION_DAYS=90 must be set together with ARCHIVE_DIR: a dir"):
        load({**database, "RETENTION_DAYS": "90"})
    with pytest.raises(StorageUnset, match="ARCHIVE_DIR is not set, so nothing is archived: set it to a dir"):
        next(archive_before(load(database), JANUARY.start))
    assert load({**database, "RETENTION_DAYS": "90", "ARCHIVE_DIR": "s3://mine"}).retention_days == 90
    assert load({**database, "RETENTION_DAYS": "0"}).archive_dir is None
    assert load({"RETENTION_DAYS": "90"}).retention_days == 90
