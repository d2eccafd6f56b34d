"""What the HTTP layer itself refuses, before or beside the rules of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


class MalformedBody(Exception):
    """The request's body is not JSON, or there is none; nothing was stored."""


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
