"""What the environment and `.env` say, in what order, and how what is wrong is told."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from infrastructure.settings import VARIABLES, WrongSetting, in_force, load, with_audit_key
from tests.support.project_files import ROOT
from tests.support.settings import problems, value_and_source


def dotenv(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_set_means_the_documented_defaults_and_no_database() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.app_mode, settings.log_level) == (
        "127.0.0.1",
        8080,
        "debug",
        "INFO",
    )
    assert not settings.database_configured
    assert {source for _, _, source in in_force(settings)} == {"default"}


def test_a_wrong_value_is_one_line_with_variable_value_and_what_it_must_be() -> None:
    assert problems(PORT="eighty") == ['PORT="eighty" must be a whole number from 0 to 65535']


@pytest.mark.parametrize(
    ("variable", "value", "must"),
    [
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("PORT", "80.5", "a whole number from 0 to 65535"),
        ("DB_PORT", "0", "from 1 to 65535"),
        ("DB_MAX_CONNECTIONS", "1", "from 2 to 10000"),
        ("MAX_CONCURRENCY", "0", "from 1 to 10000"),
        ("MAX_CONCURRENCY", "10001", "from 1 to 10000"),
        ("LEASE_SECONDS", "soon", "a number of seconds from 1 to 86400"),
        ("LEASE_SECONDS", "nan", "a number of seconds from 1 to 86400"),
        ("SHUTDOWN_GRACE_SECONDS", "inf", "a number of seconds from 0 to 3600"),
        ("APP_MODE", "production", "debug or release"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO, WARN (or WARNING) or ERROR"),
        ("DB_SSLMODE", "none", "disable, allow, prefer, require, verify-ca or verify-full"),
        ("HOST", "http://here", "a host name or an IP address without a port"),
        ("DEFAULT_TIMEZONE", "Europe/Berln", "did you mean Europe/Berlin?"),
        ("DEFAULT_TIMEZONE", "../../etc/passwd", "an IANA time zone"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,b.example", "'b.example' is not"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example/", "without a path"),
        ("NODE_NAME", "my node", "no spaces"),
        ("LOG_DIR", __file__, "that is a file"),
        ("CHRONOLEDGER_PG_BIN", "/no/such/directory", "there is no such directory"),
    ],
)
def test_every_kind_says_what_it_takes(variable: str, value: str, must: str) -> None:
    (line,) = problems(**{variable: value})
    assert line.startswith(f'{variable}="{value}" must be ')
    assert must in line


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert [line.partition("=")[0] for line in problems(PORT="x", APP_MODE="y", LEASE_SECONDS="z")] == [
        "PORT",
        "APP_MODE",
        "LEASE_SECONDS",
    ]


def test_a_value_with_a_line_break_or_of_foreign_bytes_stays_on_one_line() -> None:
    (line,) = problems(PORT="80\nDB_HOST=evil\x1b[31m")
    assert r"80\nDB_HOST=evil\u001b[31m" in line
    (line,) = problems(DB_HOST="\udcff")
    assert "not UTF-8" in line


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    path = dotenv(tmp_path, "PORT=9000\nexport LOG_LEVEL='debug' # why\nHOST=0.0.0.0\n")
    settings = load({"PORT": "9001", "HOST": ""}, path)
    assert value_and_source(settings, "PORT") == ("9001", "environment")
    assert value_and_source(settings, "LOG_LEVEL") == ("DEBUG", ".env")
    assert value_and_source(settings, "HOST") == ("0.0.0.0", ".env")
    assert value_and_source(settings, "DB_HOST") == ("localhost", "default")


def test_a_missing_file_is_none_and_dollar_signs_are_taken_as_they_are(tmp_path: Path) -> None:
    assert load({}, tmp_path / ".env") == load({})
    path = dotenv(tmp_path, "DB_PASSWORD=pa${PATH}ss$1\n")
    assert load({}, path).db_password == "pa${PATH}ss$1"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = dotenv(tmp_path, "PORT=1\n'PORT=2\n")
    with pytest.raises(WrongSetting, match=r"^.*\.env line 2 must be NAME=value or a comment after #$"):
        load({}, path)
    path.write_bytes(b"PORT=\xff")
    with pytest.raises(WrongSetting, match=r"^.*\.env must be UTF-8 text$"):
        load({}, path)
    with pytest.raises(WrongSetting, match=r"must be a readable file \(Is a directory\)$"):
        load({}, tmp_path)


def test_what_looks_misspelt_in_the_file_is_a_warning(tmp_path: Path) -> None:
    path = dotenv(
        tmp_path, "DB_PASWORD=x\nport=1\nGIN_MODE=release\nPOSTGRES_PASSWORD=y\nPOSTGRES_DB=z\nFOO=1\n"
    )
    settings = load({}, path)
    said = [
        re.fullmatch(r"(\S+) in \.env is not .* did you mean (\S+)\?", line) for line in settings.warnings
    ]
    assert [found and found.groups() for found in said] == [
        ("DB_PASWORD", "DB_PASSWORD"),
        ("port", "PORT"),
        ("GIN_MODE", "APP_MODE"),
    ]
    assert settings.port == 8080


@pytest.mark.parametrize(
    ("given", "level"), [("debug", "DEBUG"), ("Warn", "WARN"), ("warning", "WARN"), ("ERROR", "ERROR")]
)
def test_log_levels_are_read_in_any_case(given: str, level: str) -> None:
    assert load({"LOG_LEVEL": given}).log_level == level


def test_origins_are_a_list() -> None:
    settings = load({"CORS_ALLOWED_ORIGINS": "https://A.example:8443 , http://[::1]:80,*,"})
    assert settings.cors_allowed_origins == ("https://a.example:8443", "http://[::1]:80", "*")


def test_two_nodes_of_a_machine_have_different_names() -> None:
    assert load({"PORT": "8081"}).node_name == f"{socket.gethostname()}-8081"
    one, other = (load({"PORT": "0", "DATA_DIR": data}).node_name for data in ("a", "b"))
    assert one != other
    assert load({"NODE_NAME": "n1"}).node_name == "n1"


def test_the_example_names_every_variable_and_copying_it_changes_nothing(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert in_force(load({}, dotenv(tmp_path, text))) == in_force(load({}))

    taken = re.sub(r"(?m)^#(?=[A-Z_]+=)", "", text)
    assert set(re.findall(r"(?m)^([A-Z_]+)=", taken)) == set(VARIABLES)
    settings = load({}, dotenv(tmp_path, taken))
    assert [(name, value) for name, value, _ in in_force(settings)] == [
        (name, value) for name, value, _ in in_force(load({}))
    ]
    assert settings.warnings == ()


@pytest.mark.parametrize("value", ["http://", "https:///heads", "http://[::1/heads"])
def test_a_place_to_publish_at_that_has_no_host_is_refused_without_telling_it(value: str) -> None:
    [line] = problems(AUDIT_PUBLISH=value)
    assert line.startswith("AUDIT_PUBLISH=*** must be the path of a file or an http(s) URL (")
    assert value not in line


@pytest.mark.parametrize("value", ["https://example.com/heads?token=x", "/var/heads.ndjson"])
def test_a_place_to_publish_at_is_a_url_or_a_path(value: str) -> None:
    settings = load({"AUDIT_PUBLISH": f" {value} "})
    assert settings.audit_publish == value
    assert value_and_source(settings, "AUDIT_PUBLISH") == ("***", "environment")


def test_the_embedded_database_brings_its_own_key_unless_another_one_is_named() -> None:
    own = with_audit_key(load({}), Path("data/audit.key"))
    assert value_and_source(own, "AUDIT_KEY_FILE") == ("data/audit.key", "embedded")
    named = with_audit_key(load({"AUDIT_KEY_FILE": "mine"}), Path("data/audit.key"))
    assert value_and_source(named, "AUDIT_KEY_FILE") == ("mine", "environment")
