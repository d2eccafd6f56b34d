"""Bring a compose file up, see a task fire, restart everything, and see that nothing was forgotten.

Usage: compose_smoke.py [COMPOSE_FILE]; needs a container engine and the image `chronoledger:latest`.
It runs under a project name and a port of its own, so it never touches what is running or stored already.
"""

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

IMAGE = "chronoledger:latest"
RECEIVER_PORT = 9000
START_SECONDS = 120
FIRE_SECONDS = 30


class SmokeError(Exception):
    """The composed service did not do what it must; the message says which part."""


class Stack:
    """One running copy of a compose file, with an HTTP receiver on its network."""

    def __init__(self, compose_file: str, password_file: Path) -> None:
        self.project = f"chronoledger-smoke-{secrets.token_hex(3)}"
        self.port = _free_port()
        self._compose = ["compose", "--project-name", self.project, "--file", compose_file]
        self._environment = os.environ | {"PORT": str(self.port), "DB_PASSWORD_SECRET": str(password_file)}
        self._receiver = f"{self.project}-receiver"

    def docker(self, *arguments: str) -> str:
        """Run one docker command and return what it printed; raises CalledProcessError when it fails."""
        executable = shutil.which("docker") or "docker"
        return subprocess.run(  # noqa: S603 - fixed commands; only the compose file's path comes from outside
            [executable, *arguments],
            env=self._environment,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ).stdout

    def compose(self, *arguments: str) -> str:
        """Run one `docker compose` command on this project."""
        return self.docker(*self._compose, *arguments)

    def up(self) -> None:
        """Start every service, and the receiver that the tasks call."""
        self.compose("up", "--detach")
        self.docker(
            *("run", "--detach", "--name", self._receiver, "--entrypoint", "python"),
            *("--network", f"{self.project}_default", "--network-alias", "receiver", IMAGE),
            *("-m", "http.server", str(RECEIVER_PORT), "--directory", "/var/log/chronoledger"),
        )

    def down(self) -> None:
        """Remove the containers, networks and volumes of this project."""
        subprocess.run(  # noqa: S603 - see docker(); it may not exist, when up() failed early
            [shutil.which("docker") or "docker", "rm", "--force", self._receiver],
            check=False,
            capture_output=True,
        )
        self.compose("down", "--volumes", "--timeout", "10")

    def calls(self, task_name: str) -> int:
        """How many calls of this task the receiver has seen."""
        return self.docker("logs", self._receiver).count(f"GET /?task={task_name} ")

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One HTTP exchange with the API: its status and its JSON. Raises OSError while nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path} was cut off: {error!r}") from error
        finally:
            connection.close()
        return response.status, json.loads(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(what: str, seconds: float, condition: Callable[[], bool]) -> None:
    """Return once the condition holds; an OSError counts as not yet. Raises SmokeError after the deadline."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            if condition():
                print(f"  {what}: after {time.monotonic() - started:.1f} s", flush=True)
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SmokeError(f"not within {seconds} s: {what}")


def create_task(stack: Stack, name: str) -> str:
    """Create a one-off task due in two seconds that calls the receiver; returns its id."""
    due = datetime.now(UTC) + timedelta(seconds=2)
    status, task = stack.request(
        "POST",
        "/api/v1/tasks",
        {
            "name": name,
            "trigger": {"type": "one-off", "datetime": due.isoformat()},
            "action": {"method": "GET", "url": f"http://receiver:{RECEIVER_PORT}/?task={name}"},
        },
    )
    if status != http.HTTPStatus.CREATED:
        raise SmokeError(f"POST /api/v1/tasks answered {status}: {task}")
    return str(task["id"])


def succeeded(stack: Stack, task_id: str) -> bool:
    """Whether the task has exactly one result, a success."""
    status, page = stack.request("GET", f"/api/v1/tasks/{task_id}/results")
    return status == http.HTTPStatus.OK and [item["status"] for item in page["items"]] == ["succeeded"]


def healthy(stack: Stack) -> bool:
    """Whether /health answers 200."""
    return stack.request("GET", "/health")[0] == http.HTTPStatus.OK


def check(stack: Stack) -> None:
    """Fire one task before and one after a restart of every container; each must be called exactly once."""
    stack.up()
    wait_until("healthy", START_SECONDS, lambda: healthy(stack))
    before = create_task(stack, "before-restart")
    wait_until("first task's result", FIRE_SECONDS, lambda: succeeded(stack, before))

    stack.compose("restart")
    wait_until("healthy after the restart", START_SECONDS, lambda: healthy(stack))
    wait_until("first task's result still there", FIRE_SECONDS, lambda: succeeded(stack, before))
    after = create_task(stack, "after-restart")
    wait_until("second task's result", FIRE_SECONDS, lambda: succeeded(stack, after))

    for name in ("before-restart", "after-restart"):
        if (calls := stack.calls(name)) != 1:
            raise SmokeError(f"the receiver saw {calls} calls of {name}, and must see exactly 1")


def main() -> int:
    """Run the check; on a failure print the containers' last lines. Returns the exit code."""
    compose_file = sys.argv[1] if len(sys.argv) > 1 else "docker-compose.yml"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as password:
        password.write(secrets.token_hex(16))
        password.flush()
        # As docker-compose.prod.yml asks: the containers' users are not this one.
        Path(password.name).chmod(0o644)
        stack = Stack(compose_file, Path(password.name))
        print(f"{compose_file} as {stack.project} on port {stack.port}", flush=True)
        try:
            check(stack)
        except (SmokeError, subprocess.CalledProcessError) as error:
            print(f"{error}\n{getattr(error, 'output', '') or ''}", file=sys.stderr)
            print(stack.compose("logs", "--no-color", "--tail", "60"), file=sys.stderr)
            return 1
        finally:
            stack.down()
    print(f"{compose_file}: fired, restarted, remembered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
