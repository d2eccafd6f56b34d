-- Tasks by their ids, of any namespace.
SELECT id, namespace, status, next_run, created_at, updated_at, version, definition::text,
    paused_at, pause_note, redacted_at
FROM tasks WHERE id = ANY (%(ids)s)
