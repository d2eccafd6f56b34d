-- A page of tasks. `projections/ordering.py` fills the braces from its own words: never with a user's words.
SELECT id, namespace, status, next_run, created_at, updated_at, version, definition::text,
    paused_at, pause_note, redacted_at
FROM {view}
WHERE namespace = %(namespace)s
    AND (%(status)s::text IS NULL OR status = %(status)s::text)
    AND (%(trigger_type)s::text IS NULL OR trigger_type = %(trigger_type)s::text)
    AND (%(name)s::text IS NULL OR name ILIKE %(name)s::text)
    AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s::timestamptz)
    AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s::timestamptz)
    AND (%(last_id)s::uuid IS NULL OR ({key}, id) {beyond} ({last}, %(last_id)s::uuid))
ORDER BY {key} {way}, id {way}
LIMIT %(limit)s OFFSET %(offset)s
