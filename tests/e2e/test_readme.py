"""The README's tour, typed in word for word, gives what it shows."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[2] / "README.md"
PORT = "8080"
SEPARATOR = "---next---"
START_SECONDS = 60.0

# What differs from run to run: ids, instants, durations, and figures that follow from them.
VOLATILE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<instant>"),
    (re.compile(r'"duration_ms":\d+'), '"duration_ms":<ms>'),
    (re.compile(r'"(average_execution_ms|tasks_per_minute)":[\d.]+'), r'"\1":<figure>'),
    (re.compile(r"\d+ events? behind"), "<n> events behind"),
    (re.compile(r"heartbeat was \d+ s"), "heartbeat was <n> s"),
)


def tour(text: str) -> list[tuple[str, str]]:
    """Every command of the consoles, in order, with the output shown below it."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                steps.append((line[2:], ""))
            elif _open_quote(steps[-1][0]):
                steps[-1] = (steps[-1][0] + line, "")
            else:
                steps[-1] = (steps[-1][0], steps[-1][1] + line)
    return steps


def _open_quote(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return True
    return False


def steady(output: str) -> str:
    """The output without what differs from run to run."""
    for pattern, replacement in VOLATILE:
        output = pattern.sub(replacement, output)
    return output.strip()


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture
def service(folder: Path) -> Iterator[str]:
    """The port of a service that runs as `make run` starts it, in a folder of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    names = {"DATABASE_URL", "DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"PORT": port}
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [sys.executable, "-m", "interfaces.cli.main", "serve"],
            cwd=folder,
            env=environment,
            stderr=console,
        )
    try:
        _wait_until_healthy(port, process, folder / "console.log")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_healthy(port: str, process: subprocess.Popen[bytes], console: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the service did not come up:\n{console.read_text()[-2000:]}")


def test_the_tour_of_the_readme_gives_what_it_shows(service: str, folder: Path) -> None:
    steps = [(command.replace(PORT, service), output) for command, output in tour(README.read_text())]
    script = f"\necho {SEPARATOR}\n".join(command for command, _ in steps)
    typed = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=170
    )
    outputs = typed.stdout.replace(service, PORT).split(f"{SEPARATOR}\n")
    shown = [steady(output) for _, output in steps]
    assert [steady(output) for output in outputs] == shown, typed.stderr
