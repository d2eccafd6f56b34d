"""The one-shot commands, next to a running service and alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.e2e.client import Client, one_off, soon

if TYPE_CHECKING:
    from tests.support.service import Service

MIGRATIONS = [
    path
    for path in (Path(__file__).parents[2] / "migrations").glob("*.sql")
    if not path.name.endswith(".rollback.sql")
]


def test_config_shows_what_is_in_force_from_where_and_no_secret(shared_service: Service) -> None:
    shown = shared_service.run(
        "config", DATABASE_URL="postgresql://me:opensesame@db.test/tasks", LOG_LEVEL="WARN"
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = {line.partition("=")[0]: line for line in shown.stdout.splitlines()}
    assert lines["LOG_LEVEL"].split() == ["LOG_LEVEL=WARN", "#", "environment"]
    assert lines["MAX_CONCURRENCY"].split() == ["MAX_CONCURRENCY=4000", "#", "default"]
    assert "host=db.test" in lines["DATABASE_URL"]
    assert "opensesame" not in shown.stdout


def test_config_shows_what_belongs_to_the_embedded_database_and_to_no_other(shared_service: Service) -> None:
    own = shared_service.run("config")
    assert own.returncode == 0, own.stderr
    shown = {line.partition("=")[0]: line.split()[0] for line in own.stdout.splitlines()}
    data = shown["DATA_DIR"].partition("=")[2]
    assert shown["ARCHIVE_DIR"] == f"ARCHIVE_DIR={data}/archives"
    assert shown["AUDIT_KEY_FILE"] == f"AUDIT_KEY_FILE={data}/audit.key"
    other = shared_service.run("config", DATABASE_URL="postgresql://db.test/tasks")
    assert {"ARCHIVE_DIR=", "AUDIT_KEY_FILE="} <= {line.split()[0] for line in other.stdout.splitlines()}


def test_seeding_twice_next_to_the_service_creates_each_example_once(
    shared_service: Service, client: Client
) -> None:
    port = shared_service.url.rpartition(":")[2]
    first, second = (shared_service.run("seed", PORT=port) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) >= 4
    assert second.stdout == first.stdout
    ids = {line.split()[0] for line in first.stdout.splitlines()}
    assert ids == {task["id"] for task in client.all("/tasks", name="Example:")}


def test_seeding_for_a_port_that_the_system_picks_asks_for_the_port(shared_service: Service) -> None:
    refused = shared_service.run("seed", PORT="0")
    assert refused.returncode == 1
    [sentence] = refused.stderr.splitlines()
    assert "set PORT to where it listens" in sentence


def test_a_command_without_its_database_ends_with_a_sentence(shared_service: Service) -> None:
    refused = shared_service.run("migrate", "--down", DATABASE_URL="postgresql://me:opensesame@127.0.0.1:9/x")
    assert refused.returncode == 1
    [sentence] = refused.stderr.splitlines()
    assert sentence.startswith("The database does not answer (")
    assert "start it, or correct DATABASE_URL" in sentence
    assert "opensesame" not in sentence


def test_migrating_next_to_the_service_finds_nothing_to_do(shared_service: Service) -> None:
    migrated = shared_service.run("migrate")
    assert (migrated.returncode, migrated.stdout) == (0, "nothing to do\n")


def test_rolling_back_refuses_to_delete_events_without_being_told(own_service: Service) -> None:
    client = Client(own_service.url)
    task = client.create(one_off("http://127.0.0.1:9/later", soon(3600)))
    refused = own_service.run("migrate", "--down")
    assert refused.returncode == 1
    assert "This deletes 1 events" in refused.stdout
    assert client.task(task)["status"] == "scheduled"

    assert own_service.stop() == 0
    rolled_back = own_service.run("migrate", "--down", "--yes")
    assert rolled_back.returncode == 0, rolled_back.stderr
    assert [line.split()[:2] for line in rolled_back.stdout.splitlines()] == [["rolled", "back"]] * len(
        MIGRATIONS
    )
    assert not own_service.processes()
    own_service.start()
    assert Client(own_service.url).all("/tasks") == []
    with psycopg.connect(own_service.dsn()) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    assert row == (0,)
