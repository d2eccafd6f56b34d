-- How tasks stand now.
COPY task_states (
    id, namespace, status, created_at, updated_at, next_run, fires_at, runs, version, position, paused_at, resumed_at,
    pause_note, redacted_at
) FROM STDIN (FORMAT BINARY)
