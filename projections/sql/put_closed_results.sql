-- What is over.
COPY closed_results (
    id, task_id, task_version, due_at, created_at, position, attempts, namespace, task_name, kind, status, node, run_at,
    reason, status_code, response_headers, response_body, response_truncated, error_message, duration_ms, attempt_log,
    success
) FROM STDIN (FORMAT BINARY)
