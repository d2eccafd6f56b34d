"""What a server of our own says of the directories, disks, programs and settings that it cannot work with."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.embedded_postgres.errors import BinariesNotFound, DataDirectoryUnusable, StartFailed
from infrastructure.embedded_postgres.postmaster import Readiness
from tests.support.fake_postgres import WELCOME, answering, refusal
from tests.support.supervisor import (
    NOBODY,
    embedded,
    insert,
    kept,
    open_folder,
    value,
)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def data_dir(folder: Path) -> Path:
    return folder / "data"


def test_a_cluster_of_another_major_version_is_refused_and_kept(data_dir: Path) -> None:
    with embedded(data_dir) as dsn:
        insert(dsn)
        version = value(dsn, "SHOW server_version")
    marker = data_dir / "postgres" / "PG_VERSION"
    right = marker.read_text()
    marker.write_text("12\n")
    with pytest.raises(
        DataDirectoryUnusable, match=rf"PostgreSQL 12 cluster, .*{version}; set CHRONOLEDGER_PG_BIN"
    ):
        embedded(data_dir).start()
    marker.write_text(right)
    with embedded(data_dir) as dsn:
        assert kept(dsn) == 1


@pytest.mark.skipif(not SYSTEM_15.is_dir(), reason="needs the system's PostgreSQL 15")
def test_an_older_postgresql_of_the_system_serves_as_well(data_dir: Path) -> None:
    with embedded(data_dir, CHRONOLEDGER_PG_BIN=str(SYSTEM_15)) as dsn:
        assert value(dsn, "SHOW server_version").startswith("15.")
        assert value(dsn, "SHOW wal_compression") == "lz4"
        assert value(dsn, "SELECT lower('ÄÖ')") == "äö"
    with pytest.raises(DataDirectoryUnusable, match="holds a PostgreSQL 15 cluster"):
        embedded(data_dir).start()


def test_a_directory_of_other_files_is_not_taken_for_a_cluster(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(data_dir / "postgres", NOBODY.pw_uid, NOBODY.pw_gid)
    (data_dir / "postgres" / "novel.txt").write_text("It was a dark and stormy night")
    with pytest.raises(DataDirectoryUnusable, match="not empty and holds no PostgreSQL cluster"):
        embedded(data_dir).start()


def test_a_data_directory_that_is_a_file_is_refused(data_dir: Path) -> None:
    data_dir.touch()
    with pytest.raises(DataDirectoryUnusable, match="choose a DATA_DIR that is a directory"):
        embedded(data_dir).start()


@AS_ROOT
def test_a_disk_without_room_is_called_full_wherever_that_shows_and_room_is_all_it_takes(
    folder: Path,
) -> None:
    """First initdb finds no room, then the server, then the making of the database."""
    refusals = []
    with small_disk(folder / "disk", megabytes=8) as disk:
        for megabytes in range(34, 100):
            try:
                with embedded(disk / "data") as dsn:
                    insert(dsn)
                break
            except DataDirectoryUnusable as refusal:
                refusals.append(str(refusal))
            subprocess.run(["mount", "-o", f"remount,size={megabytes}m", disk], check=True)
    assert len(refusals) > 2
    assert all("No space left on device; free some space" in refusal for refusal in refusals)


@AS_ROOT
def test_a_disk_that_has_become_full_is_called_full_and_keeps_its_rows(folder: Path) -> None:
    with small_disk(folder / "disk", megabytes=200) as disk:
        with embedded(disk / "data") as dsn:
            insert(dsn)
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with pytest.raises(DataDirectoryUnusable, match="No space left on device; free some space"):
            embedded(disk / "data").start()
        (disk / "filler").unlink()
        with embedded(disk / "data") as dsn:
            assert kept(dsn) == 1


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this root may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_server_that_refuses_its_settings_is_quoted_and_lets_go_of_the_directory(data_dir: Path) -> None:
    with embedded(data_dir) as dsn:
        insert(dsn)
    override = data_dir / "postgres" / "postgresql.auto.conf"
    right = override.read_text()
    override.write_text("max_connections = many\n")
    with pytest.raises(StartFailed, match=r"it ended with 1.*invalid value for parameter") as refused:
        embedded(data_dir).start()
    assert any("max_connections" in line for line in refused.value.log_tail)
    override.write_text(right)
    with embedded(data_dir) as dsn:
        assert kept(dsn) == 1


def test_programs_that_do_not_run_are_refused_with_the_variable_to_set(folder: Path, data_dir: Path) -> None:
    for program in ("initdb", "postgres"):
        (folder / program).write_text("#!/bin/sh\nexit 3\n")
        (folder / program).chmod(0o755)
    with pytest.raises(BinariesNotFound, match=r"does not run here.*set CHRONOLEDGER_PG_BIN"):
        embedded(data_dir, CHRONOLEDGER_PG_BIN=str(folder)).start()


def test_it_is_not_started_from_a_thread_with_which_it_would_end(data_dir: Path) -> None:
    refusals: list[StartFailed] = []

    def start() -> None:
        try:
            embedded(data_dir).start()
        except StartFailed as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "call it on the main one" in str(refusals[0])
    assert not data_dir.exists()


def test_it_is_not_started_twice(data_dir: Path) -> None:
    server = embedded(data_dir)
    dsn = server.start()
    try:
        with pytest.raises(StartFailed, match="has started it already"):
            server.start()
        insert(dsn)
    finally:
        server.stop()


def wait(readiness: Readiness) -> None:
    while not readiness.reached():
        pass


def test_a_server_that_recovers_is_waited_for_beyond_the_time_to_answer(folder: Path) -> None:
    """Giving up on a recovery would only begin it anew."""
    with launched(folder, STARTING_UP, STARTING_UP, STARTING_UP, WELCOME) as (process, dsn):
        readiness = Readiness(process, dsn, StartFailed, ready_seconds=0)
        assert [readiness.reached() for _ in range(4)] == [False, False, False, True]


def test_a_server_that_says_nothing_is_given_up_and_one_that_ends_is_at_once(folder: Path) -> None:
    with launched(folder) as (process, dsn):
        with pytest.raises(StartFailed, match="not ready after 0 seconds") as refused:
            wait(Readiness(process, dsn, StartFailed, ready_seconds=0))
        assert len(str(refused.value).splitlines()) == 1
        process.kill()
        with pytest.raises(StartFailed, match="it ended with -9"):
            wait(Readiness(process, dsn, StartFailed))


def test_a_server_that_answers_with_an_error_is_not_asked_again(folder: Path) -> None:
    with (
        launched(folder, NO_ROOM) as (process, dsn),
        pytest.raises(StartFailed, match="init file: No space"),
    ):
        Readiness(process, dsn, StartFailed).reached()


STARTING_UP = refusal("57P03", "the database system is starting up")
NO_ROOM = refusal("53100", "could not write init file: No space left on device")


@contextlib.contextmanager
def launched(folder: Path, *answers: bytes) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that lives, and what is said in its place."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with answering(folder, *answers) as dsn:
                yield process, dsn
        finally:
            process.kill()
