"""Which database the settings name, and that nothing secret of it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from infrastructure.settings import in_force, load, with_database
from tests.support.settings import problems, value_and_source

SECRET = "hunter2%40"


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{SECRET}@db/name",
        f"postgresql://me:{SECRET}%zz@db/name",
        f"postgresql://me:{SECRET}@db:none/name",
        f"postgresql://me:{SECRET}@db/name?no_such_option=1",
        SECRET,
    ],
)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "DIRECT_DATABASE_URL"])
def test_a_wrong_url_is_refused_without_showing_it(variable: str, url: str) -> None:
    (line,) = problems(**{"DB_HOST": "db", variable: url})
    assert line.startswith(f"{variable}=*** must be a PostgreSQL URL such as postgresql://")
    assert SECRET not in line


def test_a_database_url_is_used_as_it_is() -> None:
    url = "postgresql://user:password@host:5432/dbname?sslmode=disable"
    settings = load({"DATABASE_URL": url + "\n"})
    assert settings.database_configured
    assert settings.dsn() == settings.direct_dsn() == url


def test_parts_make_a_conninfo_whatever_the_password_holds() -> None:
    password = r"it's a \ and a = "
    settings = load({"DB_HOST": "db", "DB_PASSWORD": password, "DB_SSLMODE": "require", "DB_PORT": "6543"})
    assert settings.database_configured
    assert conninfo_to_dict(settings.dsn()) == {
        "host": "db",
        "port": "6543",
        "user": "postgres",
        "password": password,
        "dbname": "task_scheduler",
        "sslmode": "require",
    }


@pytest.mark.parametrize("variable", ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME"])
def test_any_part_configures_a_database(variable: str) -> None:
    assert load({variable: "5432"}).database_configured


def test_tls_mode_and_pool_size_alone_configure_no_database() -> None:
    assert not load({"DB_SSLMODE": "disable", "DB_MAX_CONNECTIONS": "5"}).database_configured


def test_the_direct_url_serves_listen_and_locks() -> None:
    settings = load({"DATABASE_URL": "host=pooler", "DIRECT_DATABASE_URL": "host=primary"})
    assert (settings.dsn(), settings.direct_dsn()) == ("host=pooler", "host=primary")


def test_a_direct_url_without_a_database_is_refused() -> None:
    assert problems(DIRECT_DATABASE_URL="host=primary") == [
        "DIRECT_DATABASE_URL=*** must be set together with DATABASE_URL or DB_HOST"
    ]


def test_the_password_file_is_read_without_its_line_end_and_wins(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b" s3cret \r\n")
    settings = load({"DB_PASSWORD": "other", "DB_PASSWORD_FILE": str(tmp_path / "secret")})
    assert conninfo_to_dict(settings.dsn())["password"] == " s3cret "
    assert settings.warnings == ("DB_PASSWORD_FILE is set, so DB_PASSWORD is ignored",)
    assert value_and_source(settings, "DB_PASSWORD") == ("***", "environment")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"\n", "it is empty"),
        (b"\xff", "it is not UTF-8 text"),
        (b"a\0b", "holds a NUL"),
    ],
)
def test_an_unusable_password_file_is_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    (line,) = problems(DB_PASSWORD_FILE=str(path))
    assert line.startswith(f'DB_PASSWORD_FILE="{path}" must be the path of a readable file')
    assert reason in line


def test_parts_beside_a_url_are_a_warning() -> None:
    settings = load({"DATABASE_URL": "host=a", "DB_HOST": "b", "DB_NAME": "c"})
    assert settings.warnings == ("DATABASE_URL is set, so DB_HOST, DB_NAME are ignored",)


@pytest.mark.parametrize(
    "environ",
    [
        {"DATABASE_URL": f"postgresql://me:{SECRET}@db/x?sslpassword={SECRET}"},
        {"DATABASE_URL": f"host=db password='{SECRET}'", "DIRECT_DATABASE_URL": f"password={SECRET}"},
        {"DB_PASSWORD": SECRET},
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
