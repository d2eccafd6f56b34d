"""The sealer in the background: it seals what is appended, alone, and goes on after whatever befalls it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from domain.audit import SignedHead
from infrastructure.audit_log.keys import KeyUnusable, ensure_key, read_public_key, read_signing_key
from infrastructure.audit_log.sealer import Sealer, seal_block
from tests.support.projecting import connect, until
from tests.support.random_log import RandomLog
from tests.support.sealers import REST_SECONDS, of_level, running, sealed_up_to, sealing, told
from tests.support.sealing import KEY, as_superuser, audit_log, seal, verified
from tests.support.stored import append

SEALERS = (
    "SELECT pid, state, state_change FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'chronoledger'"
)
END_SEALERS = f"SELECT pg_terminate_backend(pid) FROM ({SEALERS}) AS sealer"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "audit.key"
    ensure_key(path)
    return path


async def test_what_is_appended_is_sealed(database: str, key_file: Path) -> None:
    source = RandomLog(1)
    async with await connect(database) as connection:
        before = await append(connection, source.grow(9_000))
        async with sealing(database, key_file):
            await sealed_up_to(connection, before)
            for events in (1, 50, 1):
                position = await append(connection, source.grow(events))
                await sealed_up_to(connection, position)
    found, heard = await verified(database, pinned=[read_signing_key(key_file).public])
    assert (heard.findings, found.position, found.unsealed) == ([], position, 0)


async def test_of_two_sealers_one_works_and_the_other_takes_over(database: str, key_file: Path) -> None:
    source = RandomLog(1)
    async with await connect(database) as connection, sealing(database, key_file):
        async with sealing(database, key_file):
            for _ in range(3):
                await sealed_up_to(connection, await append(connection, source.grow(100)))
                # Whoever seals loses its connection, and with it its turn.
                await connection.execute(END_SEALERS.encode())
        await sealed_up_to(connection, await append(connection, source.grow(100)))
    _, heard = await verified(database)
    assert heard.findings == []


async def test_while_nothing_is_appended_nothing_is_asked(database: str, key_file: Path) -> None:
    async with await connect(database) as connection, sealing(database, key_file):
        await sealed_up_to(connection, await append(connection, RandomLog(1).grow(10)))

        async def asked() -> list[tuple[object, ...]]:
            return await (await connection.execute(SEALERS.encode())).fetchall()

        async def settled() -> bool:
            before = await asked()
            await asyncio.sleep(20 * REST_SECONDS)
            return bool(before) and before == await asked()

        await until(settled)


@pytest.mark.parametrize("blocks", [0, 1])
async def test_who_is_killed_in_a_block_leaves_nothing_of_it(database: str, blocks: int) -> None:
    async with await connect(database) as connection:
        position = await append(connection, RandomLog(1).grow(9_000))
        async with await connect(database) as mortal:
            for _ in range(blocks):
                await seal_block_with_key(mortal)
            await mortal.execute("BEGIN")
            await seal_block_with_key(mortal)
            await connection.execute("SELECT pg_terminate_backend(%s)", (mortal.info.backend_pid,))
            with pytest.raises(psycopg.OperationalError):
                await mortal.execute("COMMIT")
        found, heard = await verified(database)
        assert (heard.findings, found.events) == ([], 4_096 * blocks)
        assert await seal(connection) == position
    found, heard = await verified(database)
    assert (heard.findings, found.position) == ([], position)


async def seal_block_with_key(connection: AsyncConnection) -> None:
    await connection.execute(
        "INSERT INTO audit_keys (key_id, public_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (KEY.public.id, KEY.public.pem),
    )
    await seal_block(connection, KEY)


async def test_who_seals_beside_another_is_refused(database: str) -> None:
    async with await connect(database) as connection, await connect(database) as other:
        await audit_log(connection, 10)
        await append(connection, RandomLog(2).grow(10))

        async def waiting() -> bool:
            cursor = await connection.execute(
                "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s",
                (other.info.backend_pid,),
            )
            return await cursor.fetchone() == (True,)

        async with connection.transaction():
            await seal_block(connection, KEY)
            too = asyncio.create_task(seal_block(other, KEY))
            await until(waiting)
        with pytest.raises(psycopg.errors.UniqueViolation):
            await too
    _, heard = await verified(database)
    assert heard.findings == []


async def test_a_log_that_lost_what_was_sealed_is_told_and_sealing_goes_on(
    database: str, key_file: Path
) -> None:
    source = RandomLog(2)
    async with await connect(database) as connection:
        await audit_log(connection, 100)
        await as_superuser(connection, "DELETE FROM events WHERE notification_id > 90")
        with capture_logs() as logs:
            async with sealing(database, key_file):
                await sealed_up_to(connection, await append(connection, source.grow(10)))
                await sealed_up_to(connection, await append(connection, source.grow(1)))
        assert [line["log_level"] for line in logs].count("error") == 1
    _, heard = await verified(database)
    assert heard.places() == [("event_removed", position, position) for position in range(91, 101)]


async def test_whatever_fails_is_told_and_tried_again(database: str, key_file: Path) -> None:
    failures = iter([RuntimeError("broken"), RuntimeError("broken")])

    def on_head(_signed: SignedHead) -> None:
        for error in failures:
            raise error

    source = RandomLog(3)
    async with await connect(database) as connection:
        await append(connection, source.grow(10))
        sealer = Sealer(database, key_file, on_head, REST_SECONDS)
        with capture_logs() as logs:
            async with running(sealer):
                await told(logs, "error")
                await sealed_up_to(connection, await append(connection, source.grow(10)))
    assert {line["event"] for line in of_level(logs, "error")} == {"sealing failed; trying again"}


async def test_an_outage_is_waited_out_and_told_once(key_file: Path) -> None:
    with capture_logs() as logs:
        async with sealing("host=127.0.0.1 port=1 connect_timeout=1", key_file):
            await told(logs, "warning")
            await asyncio.sleep(20 * REST_SECONDS)
    assert [line["event"] for line in logs] == ["sealing waits for the database"]


async def test_without_a_key_nothing_is_sealed_and_that_is_told(database: str, tmp_path: Path) -> None:
    with capture_logs() as logs:
        await Sealer(database, None).run()
        await Sealer(database, tmp_path / "none.key").run()
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert "openssl genpkey" in logs[1]["error"]


def test_a_key_is_made_once_and_for_its_owner_alone(key_file: Path) -> None:
    made = key_file.read_bytes()
    ensure_key(key_file)
    assert key_file.read_bytes() == made
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == ["audit.key"]


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyUnusable, match="is no private key"):
        read_signing_key(path)
    with pytest.raises(KeyUnusable, match="is no Ed25519 public key"):
        read_public_key(path)


def test_a_private_key_in_the_place_of_its_public_one_is_told_how_to_make_that(tmp_path: Path) -> None:
    ensure_key(tmp_path / "key")
    with pytest.raises(KeyUnusable, match=r"openssl pkey -in .* -pubout"):
        read_public_key(tmp_path / "key")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyUnusable, match="another kind"):
        read_signing_key(path)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(public)
    with pytest.raises(KeyUnusable, match="is no Ed25519 public key"):
        read_public_key(path)
    with pytest.raises(KeyUnusable, match="cannot be read"):
        read_public_key(tmp_path / "none")
