-- What is over.
COPY closed_results (
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, success, status_code,
    response_headers, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log,
    node, created_at, position
) FROM STDIN (FORMAT BINARY)
