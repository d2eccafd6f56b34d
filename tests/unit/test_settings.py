"""What the environment and `.env` say, in what order, and how what is wrong is told."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from infrastructure.archive.storage import StorageUnset
from infrastructure.settings import (
    VARIABLES,
    Settings,
    WrongSetting,
    in_force,
    load,
    with_database,
    with_unset,
)
from interfaces.bootstrap.transfer import archive_before
from tests.support.months import JANUARY
from tests.support.project_files import ROOT

SECRET = "hunter2%40"
DIRECTORIES = ["DATA_DIR", "LOG_DIR", "ARCHIVE_DIR", "CHRONOLEDGER_PG_BIN"]


def problems(**environ: str) -> list[str]:
    """The lines that refuse these settings."""
    with pytest.raises(WrongSetting) as caught:
        load(environ)
    assert str(caught.value).splitlines() == list(caught.value.lines)
    return list(caught.value.lines)


def value_and_source(settings: Settings, variable: str) -> tuple[str, str]:
    return next((value, source) for name, value, source in in_force(settings) if name == variable)


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


@pytest.mark.parametrize(
    ("variable", "value", "must"),
    [
        ("PORT", "eighty", "a whole number from 0 to 65535"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("PORT", "80.5", "a whole number from 0 to 65535"),
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
        ("CHRONOLEDGER_PG_BIN", "/no/such/directory", "(there is no such directory)"),
        ("DB_PASSWORD_FILE", "~no-such-user/data", "(no such user)"),
        ("DB_PASSWORD_FILE", "/no/such/file", "(No such file or directory)"),
        *((name, __file__, "(that is a file)") for name in DIRECTORIES),
        *((name, f"{__file__}/data", "(not a directory)") for name in DIRECTORIES),
        *((name, "~no-such-user/data", "(no such user)") for name in DIRECTORIES),
        *(
            (
                "ARCHIVE_DIR",
                url,
                "a directory, or s3://bucket/prefix (a URL begins with s3:// and a bucket's name)",
            )
            for url in ("s3://", "s3:///deep", "https://ledger/deep", "s3://Ledger", "s3://ledger?deep")
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_variable_value_and_what_it_must_be(
    variable: str, value: str, must: str
) -> None:
    [line] = problems(**{variable: value})
    assert line.startswith(f'{variable}="{value}" must be ')
    assert must in line


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root may enter every directory: while this lasts it is nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("variable", DIRECTORIES)
def test_a_directory_below_one_that_may_not_be_entered_is_refused(tmp_path: Path, variable: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with without_privileges():
        [line] = problems(**{variable: str(closed / "data")})
    assert line.endswith("(permission denied)")


@pytest.mark.parametrize(
    ("variable", "value", "must"),
    [
        *(
            (variable, url, "a PostgreSQL URL such as postgresql://")
            for variable in ("DATABASE_URL", "DIRECT_DATABASE_URL")
            for url in (
                f"mysql://me:{SECRET}@db/name",
                f"postgresql://me:{SECRET}%zz@db/name",
                f"postgresql://me:{SECRET}@db:none/name",
                f"postgresql://me:{SECRET}@db/name?no_such_option=1",
                SECRET,
            )
        ),
        *(
            ("AUDIT_PUBLISH", url, "the path of a file or an http(s) URL (")
            for url in ("http://", f"https:///{SECRET}", f"http://[::1/{SECRET}")
        ),
    ],
)
def test_a_wrong_value_that_may_hold_a_secret_is_refused_without_showing_it(
    variable: str, value: str, must: str
) -> None:
    [line] = problems(**{"DB_HOST": "db", variable: value})
    assert line.startswith(f"{variable}=*** must be {must}")
    assert value not in line
    assert SECRET not in line


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = problems(PORT="x", APP_MODE="y", LEASE_SECONDS="z", DIRECT_DATABASE_URL="host=primary")
    assert {line.partition("=")[0] for line in found} == {
        "PORT",
        "APP_MODE",
        "LEASE_SECONDS",
        "DIRECT_DATABASE_URL",
    }


def test_a_value_with_a_line_break_or_of_foreign_bytes_stays_on_one_line() -> None:
    [line] = problems(PORT="80\nDB_HOST=evil\x1b[31m")
    assert r"80\nDB_HOST=evil\u001b[31m" in line
    [line] = problems(DB_HOST="\udcff")
    assert "not UTF-8" in line


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    path = dotenv(
        tmp_path, "PORT=9000\nexport LOG_LEVEL='debug' # why\nHOST=0.0.0.0\nDB_PASSWORD=pa${PATH}ss$1\n"
    )
    settings = load({"PORT": "9001", "HOST": ""}, path)
    assert value_and_source(settings, "PORT") == ("9001", "environment")
    assert value_and_source(settings, "LOG_LEVEL") == ("DEBUG", ".env")
    assert value_and_source(settings, "HOST") == ("0.0.0.0", ".env")
    assert value_and_source(settings, "DB_HOST") == ("localhost", "default")
    assert settings.db_password == "pa${PATH}ss$1", "dollar signs are taken as they are"
    assert load({}, tmp_path / "missing") == load({})


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
    assert settings.warnings == tuple(
        f"{name} in .env is not a variable of this service; did you mean {guess}?"
        for name, guess in [("DB_PASWORD", "DB_PASSWORD"), ("port", "PORT"), ("GIN_MODE", "APP_MODE")]
    )
    assert settings.port == 8080


@pytest.mark.parametrize(
    ("environ", "taken"),
    [
        ({"LOG_LEVEL": "debug"}, {"log_level": "DEBUG"}),
        ({"LOG_LEVEL": "Warn"}, {"log_level": "WARN"}),
        ({"LOG_LEVEL": "warning"}, {"log_level": "WARN"}),
        ({"DATA_DIR": "/no/such/data"}, {"data_dir": Path("/no/such/data")}),
        ({"ARCHIVE_DIR": "/no/such/archives"}, {"archive_dir": "/no/such/archives"}),
        ({"ARCHIVE_DIR": " s3://ledger "}, {"archive_dir": "s3://ledger"}),
        ({"ARCHIVE_DIR": "s3://ledger/deep/"}, {"archive_dir": "s3://ledger/deep"}),
        (
            {"AUDIT_PUBLISH": " https://a.example/heads?token=x "},
            {"audit_publish": "https://a.example/heads?token=x"},
        ),
        ({"AUDIT_PUBLISH": "/var/heads.ndjson"}, {"audit_publish": "/var/heads.ndjson"}),
        (
            {"CORS_ALLOWED_ORIGINS": "https://A.example:8443 , http://[::1]:80,*,"},
            {"cors_allowed_origins": ("https://a.example:8443", "http://[::1]:80", "*")},
        ),
    ],
)
def test_a_value_is_read_generously(environ: dict[str, str], taken: dict[str, object]) -> None:
    settings = load(environ)
    assert {name: getattr(settings, name) for name in taken} == taken


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


def test_a_database_url_is_used_as_it_is_and_the_direct_one_serves_listen_and_locks() -> None:
    url = "postgresql://user:password@host:5432/dbname?sslmode=disable"
    settings = load({"DATABASE_URL": url + "\n"})
    assert settings.database_configured
    assert settings.dsn() == settings.direct_dsn() == url
    settings = load({"DATABASE_URL": "host=pooler", "DIRECT_DATABASE_URL": "host=primary"})
    assert (settings.dsn(), settings.direct_dsn()) == ("host=pooler", "host=primary")
    assert problems(DIRECT_DATABASE_URL="host=primary") == [
        "DIRECT_DATABASE_URL=*** must be set together with DATABASE_URL or DB_HOST"
    ]


def test_parts_make_a_conninfo_whatever_the_password_holds() -> None:
    password = r"it's a \ and a = "
    settings = load({"DB_HOST": "db", "DB_PASSWORD": password, "DB_SSLMODE": "require", "DB_PORT": "6543"})
    assert conninfo_to_dict(settings.dsn()) == {
        "host": "db",
        "port": "6543",
        "user": "postgres",
        "password": password,
        "dbname": "task_scheduler",
        "sslmode": "require",
    }


@pytest.mark.parametrize("variable", ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME"])
def test_any_part_that_names_or_opens_a_database_configures_one(variable: str) -> None:
    assert load({variable: "5432"}).database_configured
    assert not load({"DB_SSLMODE": "disable", "DB_MAX_CONNECTIONS": "5"}).database_configured


def test_the_password_file_is_read_without_its_line_end_and_wins(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b" s3cret \r\n")
    settings = load({"DB_PASSWORD": "other", "DB_PASSWORD_FILE": str(tmp_path / "secret")})
    assert conninfo_to_dict(settings.dsn())["password"] == " s3cret "
    assert settings.warnings == ("DB_PASSWORD_FILE is set, so DB_PASSWORD is ignored",)
    assert value_and_source(settings, "DB_PASSWORD") == ("***", "environment")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\n", "it is empty"), (b"\xff", "it is not UTF-8 text"), (b"a\0b", "it holds a NUL")],
)
def test_an_unusable_password_file_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (path := tmp_path / "secret").write_bytes(content)
    assert problems(DB_PASSWORD_FILE=str(path)) == [
        f'DB_PASSWORD_FILE="{path}" must be the path of a readable file that holds the password ({reason})'
    ]


def test_parts_beside_a_url_are_a_warning() -> None:
    settings = load({"DATABASE_URL": "host=a", "DB_HOST": "b", "DB_NAME": "c"})
    assert settings.warnings == ("DATABASE_URL is set, so DB_HOST, DB_NAME are ignored",)


@pytest.mark.parametrize(
    "environ",
    [
        {"DATABASE_URL": f"postgresql://me:{SECRET}@db/x?sslpassword={SECRET}"},
        {"DATABASE_URL": f"host=db password='{SECRET}'", "DIRECT_DATABASE_URL": f"password={SECRET}"},
        {"DB_PASSWORD": SECRET},
        {"AUDIT_PUBLISH": f"https://a.example/heads?token={SECRET}"},
    ],
)
def test_secrets_are_never_shown(environ: dict[str, str]) -> None:
    settings = load(environ)
    for shown in (repr(settings), str(settings), str(in_force(settings))):
        assert "hunter2" not in shown
        assert "***" in shown


def test_another_database_takes_the_place_of_the_configured_one() -> None:
    settings = load({"DATABASE_URL": "host=a", "DIRECT_DATABASE_URL": "host=b", "PORT": "1"})
    embedded = with_database(settings, "host=/run/pg dbname=postgres")
    assert embedded.dsn() == embedded.direct_dsn() == "host=/run/pg dbname=postgres"
    assert value_and_source(embedded, "DATABASE_URL") == ("dbname=postgres host=/run/pg", "embedded")
    assert value_and_source(embedded, "DIRECT_DATABASE_URL") == ("", "default")
    assert embedded.port == 1


def test_the_embedded_database_brings_its_own_key_and_archives_unless_others_are_named() -> None:
    settings = with_unset(
        load({"AUDIT_KEY_FILE": "mine"}), audit_key_file=Path("data/audit.key"), archive_dir="data/archives"
    )
    assert value_and_source(settings, "AUDIT_KEY_FILE") == ("mine", "environment")
    assert value_and_source(settings, "ARCHIVE_DIR") == ("data/archives", "embedded")


@pytest.mark.parametrize("database", [{"DATABASE_URL": "host=db"}, {"DB_HOST": "db"}])
def test_nothing_is_archived_from_a_configured_database_to_nowhere(database: dict[str, str]) -> None:
    [line] = problems(**database, RETENTION_DAYS="90")
    assert line.startswith("RETENTION_DAYS=90 must be set together with ARCHIVE_DIR: a directory")
    with pytest.raises(StorageUnset, match="ARCHIVE_DIR is not set, so nothing is archived: set it to a dir"):
        next(archive_before(load(database), JANUARY.start))
    assert load({**database, "RETENTION_DAYS": "90", "ARCHIVE_DIR": "s3://mine"}).retention_days == 90
    assert load({**database, "RETENTION_DAYS": "0"}).archive_dir is None
    assert load({"RETENTION_DAYS": "90"}).retention_days == 90
