-- Few: what was skipped, or cancelled before it began, and is asked for after all.
DELETE FROM closed_results WHERE id = ANY (%(ids)s)
RETURNING
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, success, status_code,
    response_headers::text, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log::text,
    NULL::timestamptz, node, NULL::timestamptz, created_at, position
