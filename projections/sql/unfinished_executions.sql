-- Executions that are not over, in the order in which somebody has to look after them.
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
    WHERE status = 'pending'
    ORDER BY created_at, id
    LIMIT %(limit)s
)
