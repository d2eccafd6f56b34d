"""Questions about the past: which moment is asked for, and which position the answer reflects."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from litestar.params import QueryParameter
from msgspec import Struct

from interfaces.http.instants import INSTANT
from interfaces.http.parameters import HIGHEST_POSITION
from interfaces.http.reachable import reachable
from interfaces.http.refusals import InvalidParameters

if TYPE_CHECKING:
    from application.past.moment import Moment


class AsOf(Struct, frozen=True, kw_only=True):
    """Which moment of the past is asked for; none of both: the present."""

    as_of: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description="The state as it was then, after the last event recorded by then; not in the future: "
            + INSTANT,
        ),
    ] = None
    as_of_position: Annotated[
        int | None,
        QueryParameter(
            gt=-1,  # `ge=0` counts as unset in Litestar
            le=HIGHEST_POSITION,
            description="The same, right after this position of the log: a whole number, not beyond its end. "
            "Not together with `as_of`.",
        ),
    ] = None

    def moment(self) -> datetime | int | None:
        """The instant or the position. Raises `InvalidParameters`."""
        if self.as_of is None or self.as_of_position is None:
            return reachable("as_of", self.as_of) if self.as_of_position is None else self.as_of_position
        raise InvalidParameters([("as_of_position", "Give either this or `as_of`, not both.")])


def reflecting(moment: Moment | None) -> dict[str, str]:
    """The header that tells which position an answer from the past reflects; none for the present."""
    return {} if moment is None else {"X-Event-Position": str(moment.position)}
