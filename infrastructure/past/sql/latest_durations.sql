-- What the latest calls of a task took that succeeded: those that were skipped or failed say nothing of it.
SELECT duration_ms FROM closed_results
WHERE task_id = %(task_id)s AND status = 'succeeded' AND duration_ms IS NOT NULL
ORDER BY due_at DESC
LIMIT 101
