-- One task.
SELECT id, namespace, status, next_run, created_at, updated_at, version, definition::text
FROM tasks WHERE id = %(id)s AND namespace = %(namespace)s
