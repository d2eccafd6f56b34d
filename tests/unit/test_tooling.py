"""What the build and the image promise to the people who run them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import check_docs
from tests.support.project_files import ROOT, load

SPECIFIED_TARGETS = {
    *("run", "build", "clean", "fmt", "lint", "dev-setup"),
    *("test", "test-unit", "test-integration", "test-e2e", "test-coverage", "test-race", "benchmark"),
    *("migrate", "migrate-down", "seed", "docs", "docs-serve", "swagger"),
    *("docker-build", "docker-run", "docker-stop", "docker-clean"),
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
