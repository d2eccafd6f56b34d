"""`chronoledger verify` beside a running service: what it says, and how it ends."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import httpx
import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.e2e.client import Client, cron
from tests.support.service import Service
from tests.support.supervisor import eventually, open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.callee import Callee


@pytest.fixture(scope="module")
def sealed_service(callee: Callee) -> Iterator[tuple[Service, Path]]:
    """A service that has sealed something and goes on, and its public key."""
    with open_folder() as folder, Service(folder, AUDIT_PUBLISH=str(folder / "heads")) as service:
        Client(service.url).create(cron(callee.url("/ok"), "* * * * * *"))
        eventually(lambda: "nothing was changed" in service.run("verify").stdout)
        private, public = next(folder.rglob("audit.key")), folder / "audit.pub"
        openssl = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
        subprocess.run(openssl, check=True)
        yield service, public


def test_nothing_was_changed_while_the_service_works(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    verified = service.run("verify", "--key", str(public))
    assert verified.returncode == 0, verified.stderr
    assert "pin yours" not in verified.stdout
    assert verified.stdout.splitlines()[-1] == "nothing was changed"
    assert "pin yours" in service.run("verify").stdout


def test_a_key_that_signed_nothing_is_told_in_a_line(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    private, other = public.with_name("other.key"), public.with_name("other.pub")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)], check=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(other)], check=True)
    verified = service.run("verify", "--key", str(other))
    assert verified.returncode == 1, verified.stderr
    lines = verified.stdout.splitlines()
    assert lines[0].endswith(": no head is signed by the key to verify with: is it the right one?")
    assert lines[-1].startswith("this is not proved to be the log")
    assert not any(line.startswith("position") for line in lines[1:])


def test_of_an_empty_log_nothing_can_be_told(sealed_service: tuple[Service, Path], database: str) -> None:
    service, _ = sealed_service
    verified = service.run("verify", DATABASE_URL=database)
    assert (verified.returncode, verified.stdout) == (2, "the log is empty\n"), verified.stderr


def test_whoever_verifies_needs_to_read_only(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    with psycopg.connect(service.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE auditor LOGIN IN ROLE pg_read_all_data")
    reading = make_conninfo(service.dsn(), user="auditor")
    verified = service.run("verify", "--key", str(public), DATABASE_URL=reading)
    assert verified.returncode == 0, verified.stderr
    assert service.run("archive", "list", DATABASE_URL=reading).returncode == 0


def test_published_heads_are_found_again(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    heads = public.with_name("heads")
    verified = service.run("verify", "--key", str(public), "--heads", str(heads))
    assert verified.returncode == 0, verified.stderr
    assert "kept elsewhere" in verified.stdout
    heads.write_bytes(heads.read_bytes() + b"{}\n")
    refused = service.run("verify", "--heads", str(heads))
    assert refused.returncode == 2
    assert "this is no head" in refused.stderr


def test_evidence_is_checked_without_the_service(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    run = httpx.get(f"{service.url}/api/v1/results?status=succeeded&sort=due_at", timeout=30).json()["items"][
        0
    ]["id"]

    def taken() -> bool:
        answer = httpx.get(f"{service.url}/api/v1/executions/{run}/evidence", timeout=30)
        bundle.write_bytes(answer.content)
        return answer.status_code == 200

    bundle = public.with_name("evidence.json")
    eventually(taken)
    checked = service.run("verify", "--bundle", str(bundle), "--key", str(public), DATABASE_URL="host=none")
    assert checked.returncode == 0, checked.stderr
    bundle.write_bytes(bundle.read_bytes().replace(b"succeeded", b"failed"))
    assert service.run("verify", "--bundle", str(bundle), "--key", str(public)).returncode == 1
    witnessed = service.run("verify", "--bundle", str(bundle), "--heads", str(bundle))
    assert witnessed.returncode == 2
    assert "--heads is for the log" in witnessed.stderr


def test_what_cannot_be_verified_ends_with_exit_code_2(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    refused = service.run("verify", "--key", str(public.with_name("none")))
    assert refused.returncode == 2
    assert "none cannot be read" in refused.stderr


def test_what_was_changed_is_named_with_exit_code_1(sealed_service: tuple[Service, Path]) -> None:
    service, public = sealed_service
    with psycopg.connect(service.dsn(), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE events SET state = state || ' ' WHERE notification_id = 2")
    verified = service.run("verify", "--key", str(public))
    assert verified.returncode == 1, verified.stderr
    assert verified.stdout.splitlines()[0] == "position 2: it is not what was sealed"
    assert verified.stdout.splitlines()[-1] == "the log was changed: 1 finding, the first at position 2"
    as_json = service.run("verify", "--json")
    found, total = [msgspec.json.decode(line) for line in as_json.stdout.splitlines()]
    assert (found["kind"], found["position"]) == ("event_changed", 2)
    assert (total["findings"], total["first"], total["pinned"]) == (1, 2, False)
