"""What the build, the container files and the manifests promise to the people who run them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from infrastructure.settings import VARIABLES
from scripts import check_docs

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "deploy/kubernetes").iterdir())
COMPOSE_FILES = ["docker-compose.yml", "docker-compose.prod.yml"]
ROLES = {"api", "projector", "scheduler"}

SPECIFIED_TARGETS = {
    *("run", "build", "clean", "fmt", "lint", "dev-setup"),
    *("test", "test-unit", "test-integration", "test-e2e", "test-coverage", "test-race", "benchmark"),
    *("migrate", "migrate-down", "seed", "docs", "docs-serve", "swagger"),
    *("docker-build", "docker-run", "docker-stop", "docker-clean"),
}


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def manifests() -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, document) for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def deployments() -> dict[str, dict[str, Any]]:
    found = (document for _, document in manifests() if document["kind"] == "Deployment")
    return {
        deployment["metadata"]["labels"]["app.kubernetes.io/component"]: deployment for deployment in found
    }


def test_constraints_are_names_and_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line), line


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}

    def normal(names: set[str]) -> set[str]:
        return {re.sub(r"[-_.]+", "-", name).lower() for name in names}

    names = {found[0] for line in wanted if (found := re.match(r"[A-Za-z0-9._-]+", line))}
    assert normal(names) <= normal(pinned)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_bare_make_lists_every_target_with_a_line_of_its_own() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    described = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed, re.MULTILINE))
    declared = re.findall(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    internal = {"runtime", "dev"}

    assert set(described) == set(" ".join(declared).split()) - internal
    assert set(described) >= SPECIFIED_TARGETS


def test_find_python_refuses_a_python_that_does_not_run_and_says_what_to_do() -> None:
    refused = subprocess.run(
        [ROOT / "scripts/find-python"],
        env={"PYTHON": "/nonexistent/python", "PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )

    assert refused.returncode == 1
    assert "PYTHON=/nonexistent/python" in refused.stderr
    assert "3.12" in refused.stderr


def test_find_python_passes_over_a_shim_that_fails(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shims = tmp_path / "shims"
    for name in (f"python{version}", "python3", "python"):
        _script(shims / name, "echo 'command not found' >&2; exit 127")
    working = tmp_path / f"pyenv/versions/{version}.0/bin/python"
    _script(working, f'exec "{sys.executable}" "$@"')

    found = subprocess.run(
        [ROOT / "scripts/find-python"],
        env={"PATH": f"{shims}:/usr/bin:/bin", "PYENV_ROOT": str(tmp_path / "pyenv")},
        check=False,
        capture_output=True,
        text=True,
    )

    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).exists()
    assert not found.stdout.startswith(str(shims))


def _script(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "document", [pytest.param(document, id=f"{file}-{document['kind']}") for file, document in manifests()]
)
def test_a_kubernetes_manifest_is_valid(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_there_is_one_deployment_a_role_and_it_runs_that_role() -> None:
    assert set(deployments()) == ROLES
    for role, deployment in deployments().items():
        pod = deployment["spec"]["template"]
        assert pod["spec"]["containers"][0]["args"] == [role]
        assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]


def test_deployments_keep_the_specified_probes_and_limits() -> None:
    for deployment in deployments().values():
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"] == {
            "requests": {"memory": "128Mi", "cpu": "100m"},
            "limits": {"memory": "512Mi", "cpu": "500m"},
        }
        # A restart does not mend what /health judges besides the process: the database, other roles.
        for probe in ("livenessProbe", "startupProbe"):
            assert container[probe]["httpGet"]["path"] == "/health/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/health"
        assert container["ports"] == [{"name": "http", "containerPort": 8080}]


def test_pods_run_without_privileges_on_a_read_only_file_system() -> None:
    for deployment in deployments().values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_configmap_names_settings_that_exist() -> None:
    (configmap,) = (document for _, document in manifests() if document["kind"] == "ConfigMap")
    assert set(configmap["data"]) <= set(VARIABLES)


def test_everything_a_pod_refers_to_is_defined() -> None:
    names = {(document["kind"], document["metadata"]["name"]) for _, document in manifests()}
    for deployment in deployments().values():
        pod = deployment["spec"]["template"]["spec"]
        assert ("ConfigMap", pod["containers"][0]["envFrom"][0]["configMapRef"]["name"]) in names
        assert {
            ("Secret", volume["secret"]["secretName"]) for volume in pod["volumes"] if "secret" in volume
        } <= names
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }


def test_a_disruption_never_takes_a_roles_last_pod() -> None:
    budgets = [document for _, document in manifests() if document["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == len(ROLES)
    for budget in budgets:
        role = budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        assert 1 <= budget["spec"]["minAvailable"] < deployments()[role]["spec"]["replicas"]


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


def test_only_projectors_have_the_key_that_signs_heads() -> None:
    (configmap,) = (document for _, document in manifests() if document["kind"] == "ConfigMap")
    folder, _, key = configmap["data"]["AUDIT_KEY_FILE"].rpartition("/")
    for role, deployment in deployments().items():
        pod = deployment["spec"]["template"]["spec"]
        [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        assert folder in {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        others = [item["key"] for item in secret.get("items", [{"key": key}])]
        assert (key in others) == (role == "projector")


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


def test_the_image_is_built_from_the_named_base_and_runs_as_nobody_in_particular() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:3.13-slim"}
    assert re.findall(r"^USER (\d+)", dockerfile, re.MULTILINE)[-1] != "0"
    assert "HEALTHCHECK" in dockerfile
    # Such a line makes the builder fetch an image, which a machine without a registry cannot.
    assert "# syntax=" not in dockerfile


def test_the_build_context_holds_every_package_of_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed >= {*wheel["packages"], "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}


def test_ci_lints_and_tests_every_supported_python() -> None:
    jobs = load(".github/workflows/ci.yml")["jobs"]
    for job in jobs.values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step

    commands = [step.get("run") for step in jobs["test"]["steps"]]
    assert {"make lint", "make test-coverage"} <= set(commands)
    versions = jobs["test"]["strategy"]["matrix"]["python-version"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {f"Programming Language :: Python :: {version}" for version in versions} <= set(
        project["classifiers"]
    )


def test_a_dead_link_in_the_pages_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/guide.md").write_text(
        "# The `guide`, in short\n\n[up](../README.md#hello) [gone](nothing.md)\n"
    )
    (tmp_path / "README.md").write_text(
        "# Hello\n\n[guide](docs/guide.md#the-guide-in-short) [elsewhere](https://example.org)\n"
        "[bad](docs/guide.md#no-such-heading) `[code](not-a-link.md)`\n\n```\n[code](nor-this.md)\n```\n"
    )

    assert check_docs.dead_links(tmp_path) == [
        "README.md: (docs/guide.md#no-such-heading) names a heading that guide.md does not have",
        "docs/guide.md: (nothing.md) names a file that does not exist",
    ]
