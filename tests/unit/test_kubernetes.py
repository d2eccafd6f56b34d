"""What the Kubernetes manifests promise to the people who run them."""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from infrastructure.settings import VARIABLES
from tests.support.project_files import ROLES, ROOT

MANIFESTS = sorted((ROOT / "deploy/kubernetes").iterdir())


def manifests() -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, document) for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def deployments() -> dict[str, dict[str, Any]]:
    found = (document for _, document in manifests() if document["kind"] == "Deployment")
    return {
        deployment["metadata"]["labels"]["app.kubernetes.io/component"]: deployment for deployment in found
    }


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


def test_only_projectors_have_the_key_that_signs_heads() -> None:
    (configmap,) = (document for _, document in manifests() if document["kind"] == "ConfigMap")
    folder, _, key = configmap["data"]["AUDIT_KEY_FILE"].rpartition("/")
    for role, deployment in deployments().items():
        pod = deployment["spec"]["template"]["spec"]
        [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        assert folder in {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        others = [item["key"] for item in secret.get("items", [{"key": key}])]
        assert (key in others) == (role == "projector")
