"""What the compose files promise to the people who run them."""

from __future__ import annotations

import pytest

from infrastructure.settings import VARIABLES
from tests.support.project_files import ROLES, load

COMPOSE_FILES = ["docker-compose.yml", "docker-compose.prod.yml"]


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_compose_runs_one_service_a_role_once_postgres_is_healthy(file: str) -> None:
    services = load(file)["services"]

    assert set(services) == {"postgres", *ROLES}
    assert "healthcheck" in services["postgres"]
    for role in ROLES:
        assert services[role]["command"] == [role]
        assert services[role]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert services[role]["restart"] == "unless-stopped"


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_compose_publishes_the_api_on_loopback_only(file: str) -> None:
    published = {
        name: service["ports"] for name, service in load(file)["services"].items() if "ports" in service
    }
    assert published == {"api": ["127.0.0.1:${PORT:-8080}:8080"]}


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_compose_hands_on_every_setting_that_makes_sense_in_a_container(file: str) -> None:
    elsewhere = {"DATABASE_URL", "DIRECT_DATABASE_URL", "DB_SSLMODE", "DB_PASSWORD", "DB_PASSWORD_FILE"}
    of_one_machine = {
        "NODE_NAME",
        "DATA_DIR",
        *(name for name in VARIABLES if name.startswith("CHRONOLEDGER_")),
    }
    for role in ROLES:
        handed_on = set(load(file)["services"][role]["environment"])
        assert handed_on >= set(VARIABLES) - elsewhere - of_one_machine
        assert handed_on <= set(VARIABLES)


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_compose_defines_every_volume_that_it_mounts(file: str) -> None:
    compose = load(file)
    mounted = {
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    assert mounted == set(compose["volumes"])


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_whoever_reads_or_writes_archives_shares_a_volume_of_them(file: str) -> None:
    services = load(file)["services"]
    for role in ("api", "projector"):
        assert f"archives:{services[role]['environment']['ARCHIVE_DIR']}" in services[role]["volumes"]


def test_production_takes_the_password_from_a_file_only() -> None:
    compose = load("docker-compose.prod.yml")
    for service in compose["services"].values():
        variables = service["environment"]
        assert not {"DB_PASSWORD", "POSTGRES_PASSWORD", "DATABASE_URL"} & set(variables)
        assert "/run/secrets/db_password" in variables.values()
        assert service["secrets"] == ["db_password"]


def test_production_containers_are_read_only_and_bounded() -> None:
    for service in load("docker-compose.prod.yml")["services"].values():
        assert service["read_only"]
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
