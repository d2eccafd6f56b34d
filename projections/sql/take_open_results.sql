-- The rows that later facts continue; they are put back as what they have become.
DELETE FROM open_results WHERE id = ANY (%(ids)s)
RETURNING
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, NULL::boolean, status_code,
    response_headers::text, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log::text,
    retry_at, node, lease_until, created_at, position
