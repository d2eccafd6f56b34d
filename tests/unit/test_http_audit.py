"""The sealed log over HTTP: heads, proofs, and evidence that is checked by what was sent alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from application.audit import Audit
from application.ports import Unreadable
from domain.merkle import consistent, includes
from infrastructure.audit_log.keys import KeyRing
from interfaces.http.audit import ConsistencyProof, Evidence, HeadPage, InclusionProof
from tests.support.groups import claim
from tests.support.http_service import HttpService, assert_a_problem, http_service
from tests.support.sealing import KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUN = UUID(int=1 << 127)
KEYS = KeyRing([KEY.public])


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    """A log of two tasks and an execution, sealed after each."""
    async with http_service() as service:
        task = await service.create(name="one")
        service.sealed.seal()
        await service.create(name="two")
        service.sealed.seal()
        await service.log.append(claim(RUN, UUID(task["id"]), 1))
        service.sealed.seal()
        yield service


async def read[T](service: HttpService, path: str, kind: type[T], **parameters: Any) -> T:
    answer = await service.client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=kind)


async def problem(service: HttpService, path: str, **parameters: Any) -> tuple[int, str]:
    answer = await service.client.get(f"/api/v1{path}", params=parameters)
    assert_a_problem(answer)
    return answer.status_code, answer.json()["type"]


async def test_heads_are_listed_from_the_latest_page_by_page(service: HttpService) -> None:
    page = await read(service, "/audit/heads", HeadPage, limit=2)
    assert [head.tree_size for head in page.items] == [3, 2]
    assert [key.public_key for key in page.keys] == [KEY.public.pem]
    assert all(KEYS.flaw(head.to_domain()) is None for head in page.items)
    page = await read(service, "/audit/heads", HeadPage, before=page.next_before)
    assert ([head.tree_size for head in page.items], page.next_before) == ([1], None)


async def test_an_event_is_proved_by_a_head(service: HttpService) -> None:
    for tree_size in (None, 2, 3):
        asked = {} if tree_size is None else {"tree_size": tree_size}
        proof = await read(service, "/audit/proof/2", InclusionProof, **asked)
        head = proof.head.to_domain().head
        assert head.tree_size == (tree_size or 3)
        hashes = [bytes.fromhex(hashed) for hashed in proof.hashes]
        leaf = bytes.fromhex(proof.leaf_hash)
        assert includes(head.root_hash, head.tree_size, proof.leaf_index, leaf, hashes)


async def test_the_log_is_proved_to_have_only_grown(service: HttpService) -> None:
    proof = await read(service, "/audit/consistency", ConsistencyProof, **{"from": 1})
    first, second = proof.first.to_domain().head, proof.second.to_domain().head
    assert (first.tree_size, second.tree_size) == (1, 3)
    hashes = [bytes.fromhex(hashed) for hashed in proof.hashes]
    assert consistent(1, first.root_hash, 3, second.root_hash, hashes)


async def test_evidence_is_checked_by_what_was_sent_alone(service: HttpService) -> None:
    sent = await read(service, f"/executions/{RUN}/evidence", Evidence)
    evidence = sent.to_domain()
    assert [event.topic for event in evidence.events] == ["execution.started.v1"]
    assert list(evidence.findings(KEYS.flaw)) == []
    assert evidence.public_key == KEY.public.pem


async def test_a_state_that_is_no_text_is_told_to_be_unreadable(service: HttpService) -> None:
    evidence = await Audit(service.sealed).evidence(RUN)
    [event] = evidence.events
    with pytest.raises(Unreadable, match="event 3 cannot be read"):
        Evidence.of(replace(evidence, events=(replace(event, state=b"\xff"),)))


async def test_what_cannot_be_proved_is_told_apart(service: HttpService) -> None:
    await service.create(name="three")
    assert await problem(service, "/audit/proof/4") == (425, "/problems/not-yet-sealed")
    assert await problem(service, "/audit/proof/3", tree_size=2) == (425, "/problems/not-yet-sealed")
    assert await problem(service, "/audit/proof/1", tree_size=4) == (404, "/problems/head-not-found")
    assert await problem(service, "/audit/consistency", **{"from": 4}) == (404, "/problems/head-not-found")
    assert await problem(service, f"/executions/{UUID(int=1)}/evidence") == (
        404,
        "/problems/execution-not-found",
    )


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/audit/heads?limit=0", "limit"),
        ("/audit/heads?before=x", "before"),
        ("/audit/proof/0", "position"),
        ("/audit/proof/1?tree_size=0", "tree_size"),
        ("/audit/consistency", "from"),
        ("/audit/consistency?from=0", "from"),
        ("/audit/consistency?from=1&to=x", "to"),
    ],
)
async def test_a_wrong_parameter_is_named(service: HttpService, path: str, parameter: str) -> None:
    answer = await service.client.get(f"/api/v1{path}")
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


async def test_an_outage_is_told(service: HttpService) -> None:
    service.sealed.away = True
    for path, asked in (("/audit/heads", {}), ("/audit/proof/1", {}), ("/audit/consistency", {"from": 1})):
        assert await problem(service, path, **asked) == (503, "/problems/database-unavailable")
