"""Which directories suit a socket, and how refusals read."""

import errno
from pathlib import Path

import pytest

from infrastructure.embedded_postgres.cluster import candidates, fits
from infrastructure.embedded_postgres.errors import (
    DataDirectoryInUse,
    DataDirectoryUnusable,
    StartFailed,
    failure,
)


def test_a_socket_path_of_103_bytes_fits_and_one_of_104_does_not() -> None:
    directory = Path("/" + "d" * (103 - len("//.s.PGSQL.5432")))
    assert fits(directory, 5432)
    assert not fits(directory, 54320)


def test_the_length_of_a_socket_path_counts_in_bytes() -> None:
    assert not fits(Path("/" + "ü" * 50), 5432)


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a\nb", "a\udcffb"])
def test_a_path_that_server_or_libpq_would_split_does_not_fit(name: str) -> None:
    assert not fits(Path("/data") / name, 5432)


@pytest.mark.parametrize("name", ["a b", "it's", "back\\slash", "Grüße"])
def test_a_path_that_only_looks_odd_fits(name: str) -> None:
    assert fits(Path("/data") / name, 5432)


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


@pytest.mark.parametrize(
    "told",
    [
        DataDirectoryInUse(Path("/data"), "process 7 (chronoledger serve)"),
        failure(Path("/data"), "it ended with 1", ["FATAL:  one", "HINT:  two"]),
    ],
)
def test_a_refusal_is_one_line(told: Exception) -> None:
    assert len(str(told).splitlines()) == 1


def test_a_failed_start_keeps_the_last_words() -> None:
    told = failure(Path("/data"), "it ended with 1", ["FATAL:  one", "HINT:  two"])
    assert isinstance(told, StartFailed)
    assert told.log_tail == ("FATAL:  one", "HINT:  two")
    assert "FATAL:  one | HINT:  two" in str(told)
