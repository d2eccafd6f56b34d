"""What a user does with the API, in few words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.service import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

type Json = dict[str, Any]

AT_ONCE = 8


def soon(seconds: float) -> datetime:
    """An instant this far from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def one_off(url: str, at: datetime, *, name: str = "Once", retry: Json | None = None, **action: Any) -> Json:
    """A task to POST that calls a URL once."""
    trigger = {"type": "one-off", "datetime": at.isoformat()}
    return _task(name, trigger, {"method": "GET", "url": url, **action}, retry)


def cron(url: str, expression: str, *, name: str = "Again and again", **action: Any) -> Json:
    """A task to POST that calls a URL by a cron expression."""
    return _task(name, {"type": "cron", "cron": expression}, {"method": "GET", "url": url, **action}, None)


def interval(url: str, every_seconds: int, *, name: str = "Again and again", **action: Any) -> Json:
    """A task to POST that calls a URL every so many seconds."""
    trigger = {"type": "interval", "every_seconds": every_seconds}
    return _task(name, trigger, {"method": "GET", "url": url, **action}, None)


def _task(name: str, trigger: Json, action: Json, retry: Json | None) -> Json:
    return {"name": name, "trigger": trigger, "action": action} | ({"retry": retry} if retry else {})


class Client:
    """The API at a URL; a lost connection is an error like any other."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, verify=False)

    def create(self, task: Json) -> Json:
        """POST a task that must be accepted."""
        answer = self.http.post("/api/v1/tasks", json=task)
        assert answer.status_code == 201, answer.text
        return _object(answer)

    def create_all(self, tasks: Iterable[Json]) -> list[Json]:
        """POST many tasks, several at a time."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(self.create, tasks))

    def get(self, path: str, **parameters: Any) -> Json:
        """GET what must be there, below /api/v1."""
        answer = self.http.get(f"/api/v1{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return _object(answer)

    def task(self, task: Json) -> Json:
        """A task as it stands now."""
        return self.get(f"/tasks/{task['id']}")

    def results(self, task: Json) -> list[Json]:
        """The results of a task."""
        found: list[Json] = self.get(f"/tasks/{task['id']}/results", limit=200)["items"]
        return found

    def all(self, path: str, **parameters: Any) -> list[Json]:
        """Every item of a list."""
        items: list[Json] = []
        page: Json = {"next_cursor": None}
        while not items or page["next_cursor"]:
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            page = self.get(path, limit=200, **parameters, **cursor)
            if not page["items"]:
                break
            items += page["items"]
        return items

    def until_over(self, task: Json, *, seconds: float = 60) -> Json:
        """A one-off once its last attempt is over."""

        def probe() -> Json | None:
            now = self.task(task)
            return None if now["status"] == "scheduled" else now

        over = until(probe, f"task {task['id']} is over", seconds=seconds)
        assert over is not None
        return over

    def until_all_over(self, tasks: Sequence[Json], *, seconds: float = 60) -> dict[str, str]:
        """The states of one-offs, by id, once the last attempt of every one is over."""
        ids = {task["id"] for task in tasks}

        def probe() -> dict[str, str] | None:
            states = {task["id"]: task["status"] for task in self.all("/tasks") if task["id"] in ids}
            return states if "scheduled" not in states.values() else None

        states = until(probe, f"{len(ids)} one-offs are over", seconds=seconds)
        assert states is not None
        return states


def _object(answer: httpx.Response) -> Json:
    found: Json = answer.json()
    return found
