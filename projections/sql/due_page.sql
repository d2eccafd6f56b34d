-- The next tasks to be due (or one of them), with the checkpoint they reflect: one statement, so one snapshot.
SELECT checkpoint.position, due.id, due.version, due.namespace, due.definition, due.next_run, due.runs, due.fires_at,
    due.paused_at, due.resumed_at
FROM (SELECT coalesce(max(position), 0) AS position FROM projection_checkpoints WHERE name = 'tasks') AS checkpoint
LEFT JOIN LATERAL (
    SELECT id, version, namespace, definition::text, next_run, runs, fires_at, paused_at, resumed_at
    FROM tasks_by_status
    WHERE fires_at <= %(until)s
        AND status = 'scheduled'
        AND (%(task_id)s::uuid IS NULL OR id = %(task_id)s::uuid)
        AND (%(after_id)s::uuid IS NULL OR (fires_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid))
    ORDER BY fires_at, id
    LIMIT %(limit)s
) AS due ON true
ORDER BY due.fires_at, due.id
