-- A page of the ledger. `projections/ordering.py` fills the braces from its own words: never with a user's words.
SELECT
    id, task_id, task_name, namespace, kind, due_at, run_at, status, reason, success, status_code,
    response_headers::text, response_body, response_truncated, error_message, duration_ms, attempts,
    attempt_log::text, retry_at, node, created_at
FROM {view}
WHERE namespace = %(namespace)s
    AND (%(task_id)s::uuid IS NULL OR task_id = %(task_id)s::uuid)
    AND (%(success)s::boolean IS NULL OR success = %(success)s::boolean)
    AND (%(status)s::text IS NULL OR status = %(status)s::text)
    AND (%(status_code)s::int IS NULL OR status_code = %(status_code)s::int)
    AND (%(due_from)s::timestamptz IS NULL OR due_at >= %(due_from)s::timestamptz)
    AND (%(due_to)s::timestamptz IS NULL OR due_at < %(due_to)s::timestamptz)
    AND (%(last_id)s::uuid IS NULL OR ({key}, id) {beyond} ({last}, %(last_id)s::uuid))
ORDER BY {key} {way}, id {way}
LIMIT %(limit)s OFFSET %(offset)s
