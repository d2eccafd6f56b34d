"""`chronoledger verify --bundle` without a database: what it says of evidence, and how it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner, Result

from application.audit import Audit
from interfaces.cli.log import verify_command
from interfaces.http.audit import Evidence
from tests.support.audit_log import MemoryAuditLog
from tests.support.sealing import KEY

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
RUN = UUID(int=1 << 127)


async def evidence(path: Path, events: int) -> Path:
    rows = [
        (number, RUN, number, "execution.started.v1", '{"ä":"\\u0000"}'.encode(), NOON)
        for number in range(1, events + 1)
    ]
    sealed = MemoryAuditLog(rows)
    sealed.seal()
    path.write_bytes(msgspec.json.encode(Evidence.of(await Audit(sealed).evidence(RUN))))
    return path


@pytest.fixture
async def bundle(tmp_path: Path) -> Path:
    return await evidence(tmp_path / "evidence.json", 2)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "audit.pub"
    path.write_text(KEY.public.pem)
    return path


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(verify_command, [str(argument) for argument in arguments])


def test_evidence_holds_by_itself(bundle: Path, key: Path) -> None:
    told = verify("--bundle", bundle, "--key", key)
    assert told.exit_code == 0, told.output
    first, proved, outcome = told.output.splitlines()
    assert first == f"execution {RUN}: 2 events"
    assert proved.startswith("proved by the head of 2 events, signed at ")
    assert outcome == "all of them were in the log then, as they are here"
    assert "pin yours with --key" in verify("--bundle", bundle).output


async def test_evidence_of_one_event_is_told_as_one(tmp_path: Path, key: Path) -> None:
    first, proved, _ = verify(
        "--bundle", await evidence(tmp_path / "one.json", 1), "--key", key
    ).output.splitlines()
    assert first == f"execution {RUN}: 1 event"
    assert proved.startswith("proved by the head of 1 event, signed at ")


def test_changed_evidence_is_told_with_the_position(bundle: Path, key: Path) -> None:
    bundle.write_bytes(bundle.read_bytes().replace(b'"version":2', b'"version":3'))
    told = verify("--bundle", bundle, "--key", key)
    assert told.exit_code == 1
    assert told.output.splitlines()[0] == "position 2: it is not proved to be the event that was sealed there"
    *_, total = [
        msgspec.json.decode(line) for line in verify("--bundle", bundle, "--json").output.splitlines()
    ]
    assert (total["type"], total["events"], total["findings"], total["pinned"]) == ("sum", 2, 2, False)


def test_evidence_without_events_proves_nothing(bundle: Path, key: Path) -> None:
    emptied = {**msgspec.json.decode(bundle.read_bytes()), "events": []}
    bundle.write_bytes(msgspec.json.encode(emptied))
    told = verify("--bundle", bundle, "--key", key)
    assert told.exit_code == 1
    assert "there are no events of the execution" in told.output
    assert told.output.splitlines()[-1] == "this is not proved to be what the log held"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff", b'{"execution_id":"x"}'],
)
def test_what_is_no_evidence_is_refused(bundle: Path, content: bytes) -> None:
    bundle.write_bytes(content)
    told = verify("--bundle", bundle)
    assert told.exit_code == 2
    assert "is no evidence" in told.output
    assert verify("--bundle", bundle.with_name("none")).exit_code == 2


def test_evidence_without_a_key_that_can_be_read_is_refused(bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes().replace(b"BEGIN PUBLIC KEY", b"BEGIN NOTHING"))
    told = verify("--bundle", bundle)
    assert (told.exit_code, told.output) == (2, "it is no public key in PEM\n")
