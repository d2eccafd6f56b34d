"""The sealed log: its signed heads, and proofs by them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from litestar import Controller, get
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta, Struct

from application import audit
from application.ports import Unreadable
from domain.audit import Evidence as Proved
from domain.audit import ProvedEvent, SignedHead, TreeHead
from domain.errors import ExecutionNotFound
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.events import is_there
from interfaces.http.explanations import ExplainedExecutionId
from interfaces.http.parameters import HIGHEST_POSITION, Injected
from interfaces.http.problems import (
    DATABASE_UNAVAILABLE,
    EVENT_NOT_FOUND,
    EXECUTION_NOT_FOUND,
    HEAD_NOT_FOUND,
    NOT_YET_SEALED,
    SEALS_DAMAGED,
)

Hashes = Annotated[
    list[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]],
    Meta(description="The hashes of the proof by RFC 9162, from the leaf to the root, in hexadecimal."),
]
PublicKeyPem = Annotated[
    str,
    Meta(
        description="The Ed25519 public key in PEM, as it is stored beside the heads; "
        "compare it with the one that you keep."
    ),
]


class Head(Struct, frozen=True, kw_only=True):
    """The log at some moment, signed."""

    tree_size: Annotated[int, Meta(description="How many events the log had.", ge=1)]
    root_hash: Annotated[
        str, Meta(pattern="^[0-9a-f]{64}$", description="The root of their tree, in hexadecimal.")
    ]
    last_position: Annotated[int, Meta(description="The position of the last one.")]
    sealed_at: Annotated[datetime, Meta(description="When it was signed, by the database's clock.")]
    key_id: Annotated[
        str,
        Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the public key (DER) that it is signed by."),
    ]
    signature: Annotated[
        str,
        Meta(pattern="^[0-9a-f]{128}$", description="The Ed25519 signature over all of that but `key_id`."),
    ]

    @classmethod
    def of(cls, signed: SignedHead) -> Self:
        """A head as it is shown."""
        return cls(
            tree_size=signed.head.tree_size,
            root_hash=signed.head.root_hash.hex(),
            last_position=signed.head.last_position,
            sealed_at=signed.head.sealed_at,
            key_id=signed.key_id.hex(),
            signature=signed.signature.hex(),
        )

    def to_domain(self) -> SignedHead:
        """The head that was shown."""
        head = TreeHead(
            tree_size=self.tree_size,
            root_hash=bytes.fromhex(self.root_hash),
            last_position=self.last_position,
            sealed_at=self.sealed_at,
        )
        return SignedHead(
            head=head, key_id=bytes.fromhex(self.key_id), signature=bytes.fromhex(self.signature)
        )


class PublicKey(Struct, frozen=True, kw_only=True):
    """A key that heads are signed by."""

    key_id: Annotated[
        str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key in DER, in hexadecimal.")
    ]
    public_key: PublicKeyPem


class HeadPage(Struct, frozen=True, kw_only=True):
    """Some heads, the latest first."""

    items: list[Head]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null: there is none.")]
    keys: Annotated[list[PublicKey], Meta(description="Every key that a head was ever signed by.")]

    @classmethod
    def of(cls, heads: Sequence[SignedHead], limit: int, keys: Mapping[bytes, str]) -> Self:
        """A page as it is shown; `heads` has one more than the page where there is a next one."""
        items = [Head.of(signed) for signed in heads[:limit]]
        return cls(
            items=items,
            next_before=items[-1].tree_size if len(heads) > limit else None,
            keys=[PublicKey(key_id=key_id.hex(), public_key=pem) for key_id, pem in keys.items()],
        )


class InclusionProof(Struct, frozen=True, kw_only=True):
    """That an event was in the log when a head was signed."""

    position: Annotated[int, Meta(description="Its position in the log.")]
    leaf_index: Annotated[int, Meta(description="How many events are before it.")]
    leaf_hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Its hash as a leaf.")]
    hashes: Hashes
    head: Head

    @classmethod
    def of(cls, inclusion: audit.Inclusion) -> Self:
        """A proof as it is shown."""
        return cls(
            position=inclusion.position,
            leaf_index=inclusion.leaf_index,
            leaf_hash=inclusion.leaf_hash.hex(),
            hashes=[hashed.hex() for hashed in inclusion.hashes],
            head=Head.of(inclusion.signed),
        )


class ConsistencyProof(Struct, frozen=True, kw_only=True):
    """That nothing before was changed as the log grew from one head to another."""

    first: Annotated[Head, Meta(description="The smaller head.")]
    second: Annotated[Head, Meta(description="The larger one.")]
    hashes: Hashes

    @classmethod
    def of(cls, consistency: audit.Consistency) -> Self:
        """A proof as it is shown."""
        return cls(
            first=Head.of(consistency.first),
            second=Head.of(consistency.second),
            hashes=[hashed.hex() for hashed in consistency.hashes],
        )


class EvidenceEvent(Struct, frozen=True, kw_only=True):
    """An event with the proof of its place."""

    position: Annotated[int, Meta(description="Its position in the log.")]
    version: Annotated[int, Meta(description="Its number in the stream, from 1.")]
    recorded_at: Annotated[datetime, Meta(description="When it was stored, by the database's clock.")]
    topic: Annotated[str, Meta(description="What kind of event it is.")]
    state: Annotated[str, Meta(description="What is stored of it, byte by byte in UTF-8.")]
    leaf_index: Annotated[int, Meta(description="How many events are before it in the log.")]
    hashes: Hashes

    @classmethod
    def of(cls, event: ProvedEvent) -> Self:
        """An event as it is shown. Raises `Unreadable` for a state that is no text."""
        return cls(
            position=event.position,
            version=event.version,
            recorded_at=event.recorded_at,
            topic=event.topic,
            state=_text(event),
            leaf_index=event.leaf_index,
            hashes=[hashed.hex() for hashed in event.hashes],
        )

    def to_domain(self) -> ProvedEvent:
        """The event that was shown."""
        return ProvedEvent(
            position=self.position,
            version=self.version,
            recorded_at=self.recorded_at,
            topic=self.topic,
            state=self.state.encode(),
            leaf_index=self.leaf_index,
            hashes=tuple(bytes.fromhex(hashed) for hashed in self.hashes),
        )


class Evidence(Struct, frozen=True, kw_only=True):
    """An execution with the proof that its events were in the log when a head was signed.

    `chronoledger verify --bundle FILE` checks it without the service.
    """

    execution_id: Annotated[UUID, Meta(description="The execution, and the stream of its events.")]
    events: Annotated[list[EvidenceEvent], Meta(description="All of its events, in order.")]
    head: Head
    public_key: PublicKeyPem
    redacted_by: Annotated[
        UUID | None, Meta(description="The stream of `redactions`; null: no event was redacted.")
    ] = None
    redactions: Annotated[
        list[EvidenceEvent], Meta(description="What tells which of the events were redacted, into what.")
    ] = []

    @classmethod
    def of(cls, proved: Proved) -> Self:
        """Evidence as it is shown. Raises `Unreadable` for a state that was never JSON."""
        return cls(
            execution_id=proved.stream,
            events=[EvidenceEvent.of(event) for event in proved.events],
            head=Head.of(proved.signed),
            public_key=proved.public_key,
            redacted_by=proved.redacted_by,
            redactions=[EvidenceEvent.of(event) for event in proved.redactions],
        )

    def to_domain(self) -> Proved:
        """The evidence that was shown."""
        return Proved(
            stream=self.execution_id,
            events=tuple(event.to_domain() for event in self.events),
            signed=self.head.to_domain(),
            public_key=self.public_key,
            redacted_by=self.redacted_by,
            redactions=tuple(event.to_domain() for event in self.redactions),
        )


def _text(event: ProvedEvent) -> str:
    try:
        return event.state.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(event.position, "it is not UTF-8") from error


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
    """The page of heads that is asked for."""

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
    """Signed heads and proofs of the log."""

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
        """The number of events, the root of their tree, and a signature."""
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
