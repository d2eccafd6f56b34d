-- How tasks stand now.
COPY task_states (
    id, created_at, updated_at, runs, version, position, namespace, status, next_run, fires_at, paused_at, resumed_at,
    pause_note, redacted_at
) FROM STDIN (FORMAT BINARY)
