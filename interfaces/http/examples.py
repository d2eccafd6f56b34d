"""Bodies that the document and the Postman collection show, and that a first request may copy."""

from __future__ import annotations

from typing import Any

TASK_EXAMPLES: dict[str, Any] = {
    "one-off": {
        "summary": "Once",
        "value": {
            "name": "Website Health Check",
            "trigger": {"type": "one-off", "datetime": "2030-01-01T12:00:00Z"},
            "action": {
                "method": "GET",
                "url": "https://api.example.com/health",
                "headers": {"Authorization": "Bearer your-token", "User-Agent": "TaskScheduler/1.0"},
            },
        },
    },
    "cron": {
        "summary": "Every day at nine in Berlin, with its own retries",
        "value": {
            "name": "Daily Report Generation",
            "trigger": {"type": "cron", "cron": "0 9 * * *", "timezone": "Europe/Berlin"},
            "action": {
                "method": "POST",
                "url": "https://api.example.com/reports/generate",
                "headers": {"Content-Type": "application/json", "X-API-Key": "your-api-key"},
                "payload": {
                    "report_type": "daily",
                    "format": "pdf",
                    "recipients": ["admin@example.com"],
                },
                "timeout_seconds": 10,
            },
            "retry": {
                "max_attempts": 5,
                "initial_delay_seconds": 2,
                "multiplier": 2,
                "max_delay_seconds": 60,
            },
        },
    },
    "interval": {
        "summary": "Every 90 seconds for a year, each call up to ten seconds later",
        "value": {
            "name": "Heartbeat",
            "trigger": {
                "type": "interval",
                "every_seconds": 90,
                "start_at": "2030-01-01T00:00:00Z",
                "end_at": "2030-12-31T23:59:59Z",
                "jitter_seconds": 10,
            },
            "action": {"method": "HEAD", "url": "https://api.example.com/alive"},
        },
    },
    "policies": {
        "summary": "Every hour, each run to its end, one after the other, and none forgotten for a day",
        "value": {
            "name": "Hourly Totals",
            "trigger": {"type": "cron", "cron": "0 * * * *"},
            "action": {
                "method": "POST",
                "url": "https://api.example.com/totals",
                "timeout_seconds": 120,
                "connect_timeout_seconds": 5,
                "max_redirects": 3,
            },
            "retry": {
                "max_attempts": 6,
                "backoff": "linear",
                "jitter": "full",
                "max_elapsed_seconds": 1800,
                "statuses": ["409", "429", "5xx"],
                "final_statuses": ["501"],
                "max_retry_after_seconds": 600,
                "on_gone": "stop",
                "disable_after_failures": 10,
            },
            "success": {"statuses": ["200", "202"], "json": {"pointer": "/state", "equals": "done"}},
            "catch_up": {"mode": "all", "window_seconds": 86400, "max_runs": 24},
            "overlap": {"mode": "queue_all", "max_running": 1, "max_queued": 24},
            "delivery": "at_least_once",
            "priority": 3,
        },
    },
}

BULK_EXAMPLES: dict[str, Any] = {
    "two": {
        "summary": "Two tasks, one of them with a key of its own",
        "value": {
            "tasks": [
                {
                    "name": "Website Health Check",
                    "trigger": {"type": "cron", "cron": "*/5 * * * *"},
                    "action": {"method": "GET", "url": "https://api.example.com/health"},
                },
                {
                    "name": "Invoice 17",
                    "trigger": {"type": "one-off", "datetime": "2030-01-01T12:00:00Z"},
                    "action": {"method": "POST", "url": "https://api.example.com/invoices/17"},
                    "idempotency_key": "invoice-17",
                },
            ]
        },
    }
}

_TASK = {
    "id": "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42",
    "namespace": "default",
    "name": "Website Health Check",
    "trigger": {
        "type": "one-off",
        "datetime": "2030-01-01T12:00:00Z",
        "timezone": "UTC",
        "start_at": None,
        "end_at": None,
        "max_runs": None,
        "jitter_seconds": 0,
    },
    "action": {
        "method": "GET",
        "url": "https://api.example.com/health",
        "headers": {"User-Agent": "TaskScheduler/1.0"},
        "payload": None,
        "timeout_seconds": 30,
        "connect_timeout_seconds": None,
        "max_redirects": 0,
    },
    "retry": {
        "max_attempts": 3,
        "initial_delay_seconds": 1,
        "multiplier": 2,
        "max_delay_seconds": 300,
        "backoff": "exponential",
        "jitter": "slight",
        "max_elapsed_seconds": None,
        "statuses": ["408", "425", "429", "5xx"],
        "final_statuses": [],
        "max_retry_after_seconds": 3600,
        "on_gone": "stop",
        "disable_after_failures": None,
    },
    "success": {"statuses": ["2xx"], "body_contains": None, "json": None},
    "catch_up": {"mode": "latest", "window_seconds": None, "max_runs": None},
    "overlap": {"mode": "skip", "max_running": 1, "max_queued": None},
    "delivery": "at_least_once",
    "priority": 5,
    "status": "scheduled",
    "next_run": "2030-01-01T12:00:00Z",
    "created_at": "2029-12-31T09:15:27.431Z",
    "updated_at": "2029-12-31T09:15:27.431Z",
    "version": 1,
}
_RESULT = {
    "id": "9b76c9d1-f800-8a3e-a4b7-1c05de98f7a3",
    "task_id": _TASK["id"],
    "task_name": _TASK["name"],
    "namespace": "default",
    "kind": "scheduled",
    "due_at": "2030-01-01T12:00:00Z",
    "run_at": "2030-01-01T12:00:00.001Z",
    "status": "succeeded",
    "reason": None,
    "success": True,
    "status_code": 200,
    "response_headers": {"content-type": "application/json"},
    "response_body": '{"status": "up"}',
    "response_truncated": False,
    "error_message": None,
    "duration_ms": 250,
    "attempts": 1,
    "attempt_log": [
        {
            "number": 1,
            "started_at": "2030-01-01T12:00:00.001Z",
            "duration_ms": 250,
            "status_code": 200,
            "error_message": None,
        }
    ],
    "retry_at": None,
    "node": "scheduler-1",
    "created_at": "2030-01-01T11:59:59.985Z",
}
_PAGE = {"total": 1, "page": 1, "limit": 50, "next_cursor": None}
_EXPLANATION = {
    "task_id": _TASK["id"],
    "execution_id": _RESULT["id"],
    "at": "2030-01-01T12:00:00Z",
    "verdict": "succeeded",
    "summary": "It ran: attempt 1 succeeded.",
    "lateness_ms": 1,
    "previous": None,
    "next": None,
    "statements": [
        {
            "code": "succeeded",
            "text": "Attempt 1 succeeded: the server answered with status 200.",
            "rule": {
                "name": "success",
                "text": "The status of the answer decides: any 2xx is a success.",
            },
            "events": [
                {
                    "position": 8,
                    "topic": "execution.succeeded.v1",
                    "stream": _RESULT["id"],
                    "version": 2,
                    "at": "2030-01-01T12:00:00.252Z",
                    "actor": "scheduler:scheduler-1",
                    "reason": None,
                }
            ],
        }
    ],
}
_WINDOW = {
    "items": [
        {
            "due_at": "2030-01-01T12:00:00Z",
            "execution_id": _RESULT["id"],
            "outcome": "succeeded",
            "reason": None,
        }
    ],
    "start": "2030-01-01T00:00:00Z",
    "end": "2030-01-03T00:00:00Z",
    "next_from": None,
}

_BULK = {
    "created": 1,
    "existing": 0,
    "refused": 1,
    "items": [
        {"index": 0, "id": _TASK["id"], "created": True, "problem": None},
        {
            "index": 1,
            "id": None,
            "created": False,
            "problem": {
                "type": "/problems/invalid-task",
                "title": "The task breaks a rule",
                "status": 422,
                "detail": "/action/url: This field is missing: add it, such as "
                '"https://api.example.com/health".',
                "instance": "/api/v1/tasks/bulk",
                "request_id": "0194f2b1c6d87a3e9f10aa54c1d2e3f4",
                "errors": [
                    {
                        "detail": 'This field is missing: add it, such as "https://api.example.com/health".',
                        "pointer": "/action/url",
                    }
                ],
            },
        },
    ],
}

SCHEMA_EXAMPLES: dict[str, Any] = {
    "Task": _TASK,
    "BulkAnswer": _BULK,
    "TaskPage": {"items": [_TASK], **_PAGE},
    "Result": _RESULT,
    "ResultPage": {"items": [_RESULT], **_PAGE},
    "Explanation": _EXPLANATION,
    "OccurrenceWindow": _WINDOW,
    "Metrics": {
        "total_tasks_executed": 150,
        "successful_tasks": 142,
        "failed_tasks": 8,
        "success_rate_percent": 94.67,
        "average_execution_ms": 245.0,
        "tasks_per_minute": 2.5,
        "active_tasks": 12,
    },
    "HealthReport": {
        "status": "healthy",
        "checks": {
            "database": {"status": "healthy", "detail": "The database answers."},
            "projectors": {"status": "healthy", "detail": "0 events behind the log."},
            "scheduler": {"status": "healthy", "detail": "The last heartbeat is 1 second old."},
        },
    },
}

COMMAND_EXAMPLES: dict[str, Any] = {
    "Pausing": {"note": {"summary": "With its reason", "value": {"note": "The target is being moved."}}},
    "Cancelling": {"note": {"summary": "With its reason", "value": {"note": "It hangs."}}},
    "RollingBack": {"first": {"summary": "To the first definition", "value": {"to": 1}}},
    "Backfilling": {
        "day": {
            "summary": "A day",
            "value": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "limit": 100},
        }
    },
}
