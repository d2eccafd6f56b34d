-- One task.
SELECT id, namespace, status, next_run, created_at, updated_at, version, definition::text,
    paused_at, pause_note
FROM tasks WHERE id = %(id)s AND namespace = %(namespace)s
