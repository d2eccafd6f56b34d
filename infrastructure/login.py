"""Why a server that answers does not let one in: what no waiting cures."""

from __future__ import annotations

import re
from typing import Literal

import psycopg

type Refusal = Literal["password", "role", "database"]

_BY_STATE: dict[str | None, Refusal] = {"28P01": "password", "28000": "role", "3D000": "database"}
# libpq hands on the server's words for a refused connection, and not their SQLSTATE. PgBouncer has its own.
_BY_WORDS: tuple[tuple[re.Pattern[str], Refusal], ...] = (
    (re.compile(r"password authentication failed|no password supplied"), "password"),
    (re.compile(r'database ".*" does not exist|no such database'), "database"),
    (re.compile(r'role ".*" (does not exist|is not permitted to log in)|no such user'), "role"),
    (re.compile(r"(Peer|Ident) authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects"), "role"),
)


def refusal(error: BaseException) -> Refusal | None:
    """What the server has against the one who connects; None when it is away, or says something else.

    A server that speaks another language than English is not understood.
    """
    if isinstance(error, psycopg.Error) and error.sqlstate in _BY_STATE:
        return _BY_STATE[error.sqlstate]
    if not isinstance(error, psycopg.OperationalError):
        return None
    found = (kind for words, kind in _BY_WORDS if words.search(str(error)))
    return next(found, None)
