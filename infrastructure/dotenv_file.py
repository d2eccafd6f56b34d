"""The `.env` file: its values as they are written, and the names in it that look misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from dotenv.parser import parse_stream

# High enough that POSTGRES_PASSWORD, which compose files keep in the same .env, is not taken for DB_PASSWORD.
_TYPO_LIKENESS = 0.8


class WrongDotenv(Exception):
    """The file cannot be read; the text is one line that says where and why."""


def read_dotenv(path: Path) -> dict[str, str]:
    """The file's NAME=value pairs; none when it does not exist, and `${…}` is not expanded.

    Raises `WrongDotenv`.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WrongDotenv(f"{path} must be a readable file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise WrongDotenv(f"{path} must be UTF-8 text") from error
    for binding in bindings:
        if binding.error:
            raise WrongDotenv(f"{path} line {binding.original.line} must be NAME=value or a comment after #")
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


def misspelt(
    names: Iterable[str], known: Collection[str], replaced: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Each name that is nearly a known one or has been replaced by one, with that one."""
    guesses = ((name, replaced.get(name) or _nearest(name, known)) for name in names if name not in known)
    return [(name, guess) for name, guess in guesses if guess]


def _nearest(name: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_TYPO_LIKENESS)
    return near[0] if near else None
