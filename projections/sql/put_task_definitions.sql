-- What was asked for.
COPY task_definitions (
    id, created_at, namespace, name, trigger_type, trigger_time, cron_expr, every_seconds, timezone, method, url,
    headers, payload, timeout_seconds, retry, definition
) FROM STDIN (FORMAT BINARY)
