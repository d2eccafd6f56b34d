"""What the HTTP layer itself refuses, before or beside the rules of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


MOST_HEAD_BYTES = 64 * 1024
"""Of the request line and the headers, together."""


class NotHttp(Exception):
    """What came cannot be parsed as HTTP/1.1; `complaint` is the parser's, in a few words."""

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"This cannot be read: {complaint}. Send HTTP/1.1, without TLS, with an encoded URL and no"
            " control characters in headers."
        )


class HeadTooLarge(Exception):
    """The request line and headers are too large together; shorten them."""

    def __init__(self) -> None:
        super().__init__(
            f"The request line and headers have more than {MOST_HEAD_BYTES:,} bytes together; shorten them."
        )


class MalformedBody(Exception):
    """The request's body is not JSON, or there is none; nothing was stored."""


class TooManyTasks(Exception):
    """There are too many tasks in one request; send them in several."""

    def __init__(self, given: int, most: int) -> None:
        super().__init__(f"The request holds {given:,} tasks; send at most {most:,} at once.")


class UnsupportedMediaType(Exception):
    """The request's body is not declared as JSON; send `Content-Type: application/json`."""


class InvalidParameters(Exception):
    """Parameters of the path, the query or the headers are wrong: (name, what to change) of each."""

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        super().__init__(" ".join(f"{name}: {detail}" for name, detail in wrong))
        self.wrong = tuple(wrong)


class ResultNotFound(Exception):
    """There is no such result; check the id."""

    def __init__(self, result_id: UUID) -> None:
        super().__init__(f"There is no result {result_id}; check the id.")
        self.result_id = result_id


class NotYetVisible(Exception):
    """The read models have not reached `min_position` in time; ask again shortly."""

    def __init__(self, position: int) -> None:
        super().__init__(f"The read models have not reached position {position} yet; ask again shortly.")
        self.position = position
