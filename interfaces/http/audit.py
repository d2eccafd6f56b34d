"""The sealed log: its signed heads, and proofs by them."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from domain.errors import ExecutionNotFound
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.audit_answers import ConsistencyProof, Evidence, HeadPage, InclusionProof
from interfaces.http.events import is_there
from interfaces.http.explanations import ExplainedExecutionId
from interfaces.http.injection import Injected
from interfaces.http.parameters import HIGHEST_POSITION
from interfaces.http.problem_types import (
    DATABASE_UNAVAILABLE,
    EVENT_NOT_FOUND,
    EXECUTION_NOT_FOUND,
    HEAD_NOT_FOUND,
    NOT_YET_SEALED,
    SEALS_DAMAGED,
)

_SIZE = "a whole number from 1, the `tree_size` of a head."

Position = Annotated[
    int,
    PathParameter(
        name="position",
        ge=1,
        le=HIGHEST_POSITION,
        description="The position of an event: a whole number from 1.",
    ),
]


class HeadSelection(Struct, frozen=True, kw_only=True):
    """Which heads."""

    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Heads on a page: a whole number from 1 to 200.")
    ] = 50
    before: Annotated[
        int,
        QueryParameter(
            ge=1,
            le=HIGHEST_POSITION,
            description=f"Only heads of fewer events: {_SIZE}",
        ),
    ] = HIGHEST_POSITION


class ProvingHead(Struct, frozen=True, kw_only=True):
    """By which head."""

    tree_size: Annotated[
        int | None,
        QueryParameter(
            ge=1, le=HIGHEST_POSITION, description=f"Prove it by this head, the latest when left out: {_SIZE}"
        ),
    ] = None


OneSize = Annotated[
    int, QueryParameter(name="from", ge=1, le=HIGHEST_POSITION, description=f"The one head: {_SIZE}")
]
OtherSize = Annotated[
    int | None,
    QueryParameter(
        name="to",
        ge=1,
        le=HIGHEST_POSITION,
        description=f"The other head, the latest when left out: {_SIZE}",
    ),
]


class AuditController(Controller):
    """What proves the log to others."""

    path = "/"
    tags = ("proof",)

    @get(
        "/audit/heads",
        operation_id="listHeads",
        summary="List signed heads",
        description="Some seconds after something was appended there is a new head. Whoever keeps one "
        "elsewhere can tell later whether what was in the log then is still there, unchanged.",
        dependencies={"selection": Provide(HeadSelection, sync_to_thread=False)},
        response_description="Heads, the latest first.",
        responses=doc.problems(DATABASE_UNAVAILABLE),
    )
    async def list_heads(self, api: Injected[Api], selection: Injected[HeadSelection]) -> HeadPage:
        """How many events there were, their root, and a signature."""
        audit = api.parts.audit
        heads = await audit.heads(selection.before, selection.limit + 1)
        return HeadPage.of(heads, selection.limit, await audit.keys())

    @get(
        "/audit/proof/{position:str}",
        operation_id="proveEvent",
        summary="Prove an event",
        description="The inclusion proof of RFC 9162, section 2.1.3.",
        dependencies={"by": Provide(ProvingHead, sync_to_thread=False)},
        response_description="The hashes that lead from the event to the root of the head.",
        responses=doc.problems(
            EVENT_NOT_FOUND, HEAD_NOT_FOUND, NOT_YET_SEALED, SEALS_DAMAGED, DATABASE_UNAVAILABLE
        ),
    )
    async def prove_event(
        self, api: Injected[Api], position: Position, by: Injected[ProvingHead]
    ) -> InclusionProof:
        """That it was in the log when a head was signed."""
        return InclusionProof.of(await api.parts.audit.inclusion(position, by.tree_size))

    @get(
        "/audit/consistency",
        operation_id="proveConsistency",
        summary="Prove that the log only grew",
        description="The consistency proof of RFC 9162, section 2.1.4.",
        response_description="The hashes that lead to the roots of both heads.",
        responses=doc.problems(HEAD_NOT_FOUND, SEALS_DAMAGED, DATABASE_UNAVAILABLE),
    )
    async def prove_consistency(
        self, api: Injected[Api], from_: OneSize, to: OtherSize = None
    ) -> ConsistencyProof:
        """That the events of one head are the first ones of another."""
        return ConsistencyProof.of(await api.parts.audit.consistency(from_, to))

    @get(
        "/executions/{id:str}/evidence",
        operation_id="getEvidence",
        summary="Take an execution with its proof",
        description="A bundle to keep, or to hand on: `chronoledger verify --bundle FILE` checks it "
        "anywhere, without the service and its database.",
        response_description="The execution's events, their inclusion proofs, the head and its public key.",
        responses=doc.problems(
            EXECUTION_NOT_FOUND, HEAD_NOT_FOUND, NOT_YET_SEALED, SEALS_DAMAGED, DATABASE_UNAVAILABLE
        ),
    )
    async def get_evidence(self, api: Injected[Api], execution_id: ExplainedExecutionId) -> Evidence:
        """Everything that the log holds of it, for whoever has no access to the log."""
        if not await is_there(api, execution_id, "execution"):
            raise ExecutionNotFound(execution_id)
        return Evidence.of(await api.parts.audit.evidence(execution_id))
