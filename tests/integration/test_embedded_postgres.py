"""The life of a server of our own: it keeps what was committed and ends with its supervisor."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded_postgres.cluster import candidates
from infrastructure.embedded_postgres.errors import DataDirectoryInUse, DataDirectoryUnusable
from infrastructure.embedded_postgres.launcher import account_for
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
from tests.support.supervisor import (
    Supervisor,
    embedded,
    environ,
    eventually,
    insert,
    is_gone,
    kept,
    open_folder,
    postmaster_of,
    value,
)


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


def test_a_restart_can_be_waited_for_on_another_thread_which_the_server_outlives(data_dir: Path) -> None:
    server = embedded(data_dir)
    dsn = server.start()

    def wait() -> None:
        while not server.is_ready():
            pass

    try:
        insert(dsn, 5)
        os.kill(postmaster_of(data_dir / "postgres"), signal.SIGKILL)
        eventually(lambda: server.poll() is not None)
        on_a_thread(server.prepare)
        server.launch()
        on_a_thread(wait)
        assert kept(dsn) == 5
        assert server.poll() is None
    finally:
        server.stop()


def on_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


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
