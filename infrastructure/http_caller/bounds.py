"""How much of a stranger's answer is taken, and what is wrong with one that is none."""

from __future__ import annotations

from typing import NamedTuple

import httptools

TOO_MANY_HEADERS = "it has too many headers"
TOO_LONG = "its status line or one of its headers is too long"
TOO_MUCH = "there is too much of it beside its body"


# Complaints about the first line.
NO_STATUS_LINE = (
    "Expected HTTP/",
    "Expected dot",
    "Expected space after version",
    "Invalid HTTP version",
    "Invalid major version",
    "Invalid minor version",
)


class Bounds(NamedTuple):
    """How much of an answer is taken: bytes of its body, of a header field, and how many of these.

    `head`: bytes of its head, and of informational ones before it; `beside_body`: of these, the frames of
    chunks and trailers.
    """

    body: int
    field: int = 32_768
    fields: int = 128
    head: int = 256 * 1024
    beside_body: int = 1024 * 1024


def complaint(error: httptools.HttpParserError) -> str:
    """What the parser complains about: its sentences are fixed and quote nothing that it read."""
    reason = str(error)
    if isinstance(error, httptools.HttpParserInvalidStatusError) or reason.startswith(NO_STATUS_LINE):
        return "bad status line"
    return reason.replace("`", "").lower()
