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
}
