-- The rows that later facts continue; few of them hold an answer yet.
SELECT
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, success, status_code,
    response_headers::text, response_body, response_truncated, error_message, duration_ms, attempts,
    attempt_log::text, retry_at, node, lease_until, created_at, position
FROM task_results WHERE id = ANY (%(ids)b::uuid[])
