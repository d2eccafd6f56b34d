-- What is not over.
COPY open_results (
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, status_code,
    response_headers, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log,
    retry_at, node, lease_until, created_at, position
) FROM STDIN (FORMAT BINARY)
