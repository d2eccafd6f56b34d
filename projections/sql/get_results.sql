-- Occurrences by their ids, of any namespace.
SELECT
    id, task_id, task_name, namespace, kind, due_at, run_at, status, reason, success, status_code,
    response_headers::text, response_body, response_truncated, error_message, duration_ms, attempts,
    attempt_log::text, retry_at, node, created_at
FROM task_results WHERE id = ANY (%(ids)s)
