"""Archives in a bucket: what a folder promises, over HTTP."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

import pytest

from application.ports import ArchiveAway
from domain.identity import Month
from infrastructure.archive.files import ArchiveFile, Entry, Event, Writer
from infrastructure.archive.storage import Bucket, StorageUnusable
from tests.support.archived_events import events
from tests.support.object_store import ObjectStore, object_store

URL = "s3://ledger/archives"
LARGE = 12 * 1024 * 1024


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store() as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        yield running


def written(storage: Bucket, name: str, log: list[Event]) -> str:
    """An archive that is kept under a name; answers its SHA-256."""
    with storage.writing() as (file, keep):
        writer = Writer(file, Month(2026, 1))
        for event in log:
            writer.add(event)
        for event in sorted(log, key=lambda one: (one.stream, one.version)):
            writer.index(Entry(event.stream, event.position))
        writer.finish(1, {})
        keep(name)
    return writer.sha256


def test_what_is_kept_is_read_again_piece_by_piece(store: ObjectStore) -> None:
    storage, log = Bucket(URL), events([b"{}"] * 9_000, streams=100)
    sha256 = written(storage, "january", log)
    assert list(store.objects) == ["/ledger/archives/january"]
    file = ArchiveFile("january", storage.open("january"))
    file.verify(sha256)
    assert list(file.events()) == log
    assert file.of_stream(log[3].stream) == [event for event in log if event.stream == log[3].stream]


def test_what_is_large_goes_in_parts_and_comes_back_whole(store: ObjectStore) -> None:
    storage, content = Bucket(URL), os.urandom(LARGE)
    with storage.writing() as (file, keep):
        file.write(content)
        keep("large")
    assert store.multiparts == 1
    source = storage.open("large")
    assert source.size == LARGE
    assert source.read(LARGE - 10, 10) == content[-10:]
    assert io.BytesIO(source.read(0, LARGE)).getvalue() == content


def test_what_is_not_finished_is_not_there(store: ObjectStore) -> None:
    with Bucket(URL).writing() as (file, _):
        file.write(b"some")
    assert store.objects == {}


def test_what_is_not_there_or_may_not_be_read_is_away(store: ObjectStore) -> None:
    storage = Bucket(URL)
    with pytest.raises(ArchiveAway, match="the archive january is needed and cannot be read"):
        storage.open("january")
    written(storage, "january", events([b"{}"]))
    source = storage.open("january")
    store.away = True
    with pytest.raises(ArchiveAway, match="the archive january"):
        source.read(0, 10)
    with pytest.raises(StorageUnusable, match=f"ARCHIVE_DIR={URL} cannot be used"):
        written(storage, "february", events([b"{}"]))


def test_without_the_extra_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(StorageUnusable, match=r"pip install 'chronoledger\[s3\]'"):
        Bucket(URL)
