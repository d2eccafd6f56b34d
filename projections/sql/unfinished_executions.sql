-- Executions that are not over, in the order in which somebody has to look after them: not what is queued,
-- which waits for nobody but a run of its own task.
(
    SELECT id, node, lease_until, retry_at
    FROM task_results
    WHERE status = 'running'
    ORDER BY coalesce(retry_at, lease_until), id
    LIMIT %(limit)s
)
UNION ALL
(
    SELECT id, NULL, NULL, NULL
    FROM task_results
    WHERE status = 'pending' AND kind <> 'scheduled'
    ORDER BY created_at, id
    LIMIT %(limit)s
)
