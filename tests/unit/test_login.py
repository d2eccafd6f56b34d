"""Telling a server that refuses the login, which no waiting cures, from one that is away."""

from __future__ import annotations

import psycopg
import pytest

from infrastructure.postgres import Refusal, refusal
from infrastructure.settings import load
from interfaces.bootstrap.database import DatabaseUnusable
from interfaces.bootstrap.transfer import elsewhere

PREFIX = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
PASSWORD = 'FATAL:  password authentication failed for user "me"'
UNPERMITTED = 'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me", database "x", no encryption'


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (PASSWORD, "password"),
        ("fe_sendauth: no password supplied", "password"),
        ("FATAL: password authentication failed", "password"),
        ('FATAL:  role "me" does not exist', "role"),
        ('FATAL:  role "me" is not permitted to log in', "role"),
        ('FATAL:  Peer authentication failed for user "me"', "role"),
        (UNPERMITTED, "role"),
        ('FATAL:  database "x" does not exist', "database"),
        ("FATAL: no such database: x", "database"),
        ("Connection refused\n\tIs the server running on that host?", None),
        ("FATAL:  the database system is starting up", None),
        ("FATAL:  sorry, too many clients already", None),
        ("timeout expired", None),
    ],
)
def test_the_servers_words_tell_what_it_has_against_the_login(words: str, kind: Refusal | None) -> None:
    assert refusal(psycopg.OperationalError(PREFIX + words)) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.lookup("28P01")("Passwort falsch"), "password"),
        (psycopg.errors.lookup("28000")("Anmeldung verweigert"), "role"),
        (psycopg.errors.lookup("3D000")("Datenbank fehlt"), "database"),
        (psycopg.errors.lookup("57P03")("startet noch"), None),
    ],
)
def test_a_sqlstate_is_believed_where_there_is_one(error: psycopg.Error, kind: Refusal | None) -> None:
    assert refusal(error) == kind


def test_an_error_that_is_none_of_the_connection_is_no_refusal() -> None:
    assert refusal(psycopg.errors.UndefinedObject('role "me" does not exist')) is None
    assert refusal(OSError('database "x" does not exist')) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (PASSWORD, 'The password of "me" is refused; correct DB_PASSWORD.'),
        ("fe_sendauth: no password supplied", 'The password of "me" is missing; correct DB_PASSWORD.'),
        ('FATAL:  database "x" does not exist', 'There is no database "x": create it, or correct DB_NAME.'),
        (
            UNPERMITTED,
            f'The server does not let "me" in ({UNPERMITTED.removeprefix("FATAL:  ")}); correct DB_USER, or '
            "permit it there.",
        ),
        (
            "Connection refused",
            f"The database does not answer ({PREFIX}Connection refused); start it, or correct "
            "DATABASE_URL or DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME.",
        ),
    ],
)
def test_the_sentence_names_what_is_wrong_and_what_to_correct(words: str, sentence: str) -> None:
    settings = load({"DB_USER": "me", "DB_NAME": "x", "DB_PASSWORD": "opensesame"})
    told = str(DatabaseUnusable(settings, psycopg.OperationalError(PREFIX + words)))
    assert told.partition(" In force: ")[0] == sentence
    assert "dbname=x" in told
    assert "opensesame" not in told


def test_the_sentence_names_the_variables_that_were_set() -> None:
    error = psycopg.OperationalError(PREFIX + PASSWORD)
    url = {"DATABASE_URL": "postgresql://me@pooler/x"}
    assert "correct DATABASE_URL. In force" in str(DatabaseUnusable(load(url), error))
    both = load(url | {"DIRECT_DATABASE_URL": "postgresql://me@direct/x"})
    assert "correct DATABASE_URL and DIRECT_DATABASE_URL" in str(DatabaseUnusable(both, error))
    assert "host=direct" in str(DatabaseUnusable(both, error))
    assert "host=pooler" in str(DatabaseUnusable(both, error, both.dsn()))


def test_a_database_that_an_option_names_is_corrected_there() -> None:
    second = elsewhere(load({"DATABASE_URL": "postgresql://me@here/x"}), "postgresql://me@elsewhere/x")
    for words, advice in ((PASSWORD, "correct --to"), ("Connection refused", "start it, or correct --to")):
        told = str(DatabaseUnusable(second, psycopg.OperationalError(PREFIX + words)))
        assert f"{advice}. In force: " in told
        assert "host=elsewhere" in told
