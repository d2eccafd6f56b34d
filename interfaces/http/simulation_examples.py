"""Bodies of simulations that the document and the Postman collection show."""

from __future__ import annotations

from typing import Any

_TASK_ID = "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42"

SIMULATION_EXAMPLES: dict[str, Any] = {
    "change": {
        "summary": "One task, if runs had waited for one another last week",
        "value": {
            "task_id": _TASK_ID,
            "change": {"overlap": {"mode": "queue_one"}},
            "past": {"from": "2026-01-05T00:00:00Z", "to": "2026-01-12T00:00:00Z"},
        },
    },
    "definition": {
        "summary": "A task that there is not yet, over the next days",
        "value": {
            "definition": {
                "name": "Nightly import",
                "trigger": {"type": "cron", "cron": "30 2 * * *", "timezone": "Europe/Berlin"},
                "action": {"method": "POST", "url": "https://api.example.com/imports"},
            },
            "future": {"to": "2030-04-01T00:00:00Z"},
            "duration_ms": 600000,
        },
    },
    "filter": {
        "summary": "All tasks of a name, each five minutes long spread, last day and next",
        "value": {
            "filter": {"name": "report", "status": "scheduled"},
            "change": {"trigger": {"jitter_seconds": 300}},
            "past": {"from": "2026-01-11T00:00:00Z", "to": "2026-01-12T00:00:00Z"},
            "future": {"to": "2026-01-13T00:00:00Z"},
            "limit": 50,
        },
    },
}
