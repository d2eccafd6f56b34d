-- The states that later facts continue; they are put back as what they have become.
DELETE FROM task_states WHERE id = ANY (%(ids)s)
RETURNING
    id, namespace, status, created_at, updated_at, next_run, fires_at, runs, version, position, paused_at, resumed_at,
    pause_note, redacted_at
