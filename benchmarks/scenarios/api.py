"""api: create, get, list with filters, and results, by 1 and 64 clients of one API process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import httpx

from benchmarks import history, http_load, processes
from benchmarks.figures import Chart, Figure, Findings, Limit, Line
from benchmarks.http_load import Answered
from benchmarks.stage import Stage

CLIENTS = (1, 64)
SECONDS = 10.0
TASKS, RESULTS = 20_000, 100_000
GRAIN_MS = 2.0
BODY = {
    "name": "benchmark",
    "trigger": {"type": "cron", "cron": "0 0 1 1 *", "start_at": "2099-01-01T00:00:00Z"},
    "action": {"method": "GET", "url": "http://127.0.0.1:1/"},
}


class Operation(NamedTuple):
    """A request of the API, and what is aimed at with the most clients."""

    name: str
    requests: Sequence[bytes]
    least_rate: float | None = None
    most_p99_ms: float | None = None


async def run(stage: Stage) -> Findings:
    """Requests a second and how long one takes, beside an endpoint of the same stack that does nothing."""
    limits = await _hello(stage)
    rates: dict[str, list[tuple[float, float]]] = {"hello": _points(limits)}
    figures: list[Figure] = []
    with stage.database() as dsn:
        stage.progress.step("tasks and results to look for")
        tasks, results = stage.scaled(TASKS, least=100), stage.scaled(RESULTS, least=100)
        await history.store(stage, dsn, tasks=tasks, results=results, rows=True)
        stage.server.settle(dsn)
        with stage.service(dsn) as running:
            url = running.services["api"].url
            for operation in _operations(url):
                stage.progress.step(operation.name)
                found = await _answered(stage, url, operation.requests)
                rates[operation.name] = _points(found)
                for count in CLIENTS:
                    figures += _figures(operation, count, found[count], limits[count])
    lines = [Line(name, points) for name, points in rates.items()]
    chart = Chart(
        title="One API process", x="clients", y="requests a second", lines=lines, log_x=True, log_y=True
    )
    return Findings(figures, [chart])


async def _hello(stage: Stage) -> dict[int, Answered]:
    stage.progress.step("the limit: an endpoint that does nothing")
    with processes.hello() as url:
        return await _answered(stage, url, [http_load.request("GET", url)])


async def _answered(stage: Stage, url: str, requests: Sequence[bytes]) -> dict[int, Answered]:
    return {count: await http_load.clients(url, count, stage.seconds(SECONDS), requests) for count in CLIENTS}


def _operations(url: str) -> list[Operation]:
    tasks, results = f"{url}/api/v1/tasks", f"{url}/api/v1/results"
    # Each of another task: what several ask for at once could be read once.
    known = httpx.get(tasks, params={"limit": 200}).raise_for_status().json()["items"]
    at_once = {"Prefer": "respond-async"}

    def got(path: str) -> list[bytes]:
        return [http_load.request("GET", path)]

    return [
        Operation("create", [http_load.request("POST", tasks, BODY)], 1_000.0, 25.0),
        Operation("create, respond-async", [http_load.request("POST", tasks, BODY, at_once)]),
        Operation("get", [http_load.request("GET", f"{tasks}/{task['id']}") for task in known], 4_000.0),
        Operation("list by status", got(f"{tasks}?status=scheduled&limit=50")),
        Operation("list by name", got(f"{tasks}?name=bench&limit=50")),
        Operation("results", got(f"{results}?limit=50")),
        Operation("results by status", got(f"{results}?status=succeeded&limit=50")),
    ]


def _points(found: dict[int, Answered]) -> list[tuple[float, float]]:
    return [(float(count), answered.rate) for count, answered in found.items()]


def _figures(operation: Operation, count: int, found: Answered, hello: Answered) -> list[Figure]:
    name = f"{operation.name}, {count} client{'s' if count > 1 else ''}"
    aimed = count == max(CLIENTS)
    return [
        Figure(
            name=f"{name}: rate",
            value=found.rate,
            unit="requests/s",
            better="higher",
            limit=Limit("hello", hello.rate),
            target=operation.least_rate if aimed else None,
        ),
        Figure(
            name=f"{name}: p99",
            value=found.p99_ms,
            unit="ms",
            better="lower",
            limit=Limit("hello", hello.p99_ms),
            target=operation.most_p99_ms if aimed else None,
            grain=GRAIN_MS,
        ),
    ]
