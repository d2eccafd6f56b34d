-- One row per occurrence; a later fact about the same occurrence overwrites what is known of its outcome.
INSERT INTO task_results AS result (
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, success, status_code,
    response_headers, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log,
    retry_at, node, lease_until, created_at, position
)
SELECT * FROM unnest(
    %(id)b::uuid[], %(task_id)b::uuid[], %(namespace)b::text[], %(task_name)b::text[],
    %(task_version)b::bigint[], %(kind)b::text[], %(due_at)b::timestamptz[], %(run_at)b::timestamptz[],
    %(status)b::text[], %(reason)b::text[], %(success)b::boolean[], %(status_code)b::int[],
    %(response_headers)b::jsonb[], %(response_body)b::text[], %(response_truncated)b::boolean[],
    %(error_message)b::text[], %(duration_ms)b::int[], %(attempts)b::int[], %(attempt_log)b::jsonb[],
    %(retry_at)b::timestamptz[], %(node)b::text[], %(lease_until)b::timestamptz[],
    %(created_at)b::timestamptz[], %(position)b::bigint[]
)
ON CONFLICT (id) DO UPDATE SET
    task_id = excluded.task_id, namespace = excluded.namespace, task_name = excluded.task_name,
    task_version = excluded.task_version, kind = excluded.kind, due_at = excluded.due_at,
    run_at = excluded.run_at, status = excluded.status, reason = excluded.reason, success = excluded.success,
    status_code = excluded.status_code, response_headers = excluded.response_headers,
    response_body = excluded.response_body, response_truncated = excluded.response_truncated,
    error_message = excluded.error_message, duration_ms = excluded.duration_ms, attempts = excluded.attempts,
    attempt_log = excluded.attempt_log, retry_at = excluded.retry_at, node = excluded.node,
    lease_until = excluded.lease_until, created_at = excluded.created_at, position = excluded.position
WHERE result.position < excluded.position
