-- Executions that are not over, in the order in which somebody has to look after them.
SELECT id, node, lease_until, retry_at
FROM task_results
WHERE status = 'running'
ORDER BY coalesce(retry_at, lease_until), id
LIMIT %(limit)s
