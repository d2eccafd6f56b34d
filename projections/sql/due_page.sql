-- The next tasks to be due, with the checkpoint they reflect: one statement, so one snapshot.
SELECT checkpoint.position, due.id, due.version, due.namespace, due.definition, due.next_run
FROM (SELECT coalesce(max(position), 0) AS position FROM projection_checkpoints WHERE name = 'tasks') AS checkpoint
LEFT JOIN LATERAL (
    SELECT id, version, namespace, definition::text, next_run
    FROM tasks
    WHERE next_run <= %(until)s
        AND (%(after_id)s::uuid IS NULL OR (next_run, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid))
    ORDER BY next_run, id
    LIMIT %(limit)s
) AS due ON true
ORDER BY due.next_run, due.id
