-- What a fold of later facts needs to know of a task: all but its definition.
SELECT id, namespace, status, created_at, updated_at, next_run, fires_at, runs, version, position, paused_at, resumed_at,
    pause_note
FROM tasks WHERE id = ANY (%(ids)b::uuid[])
