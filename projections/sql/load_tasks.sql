-- What a fold of later facts needs to know of a task: all but its definition.
SELECT id, namespace, status, created_at, updated_at, next_run, version, position
FROM tasks WHERE id = ANY (%(ids)b::uuid[])
