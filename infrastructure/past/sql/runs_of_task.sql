-- Executions of a task that are due in a span, that went on after a position of the log, or that still do.
SELECT id FROM closed_results
WHERE task_id = %(task_id)s AND due_at >= %(since)s AND due_at < %(until)s
UNION ALL
SELECT id FROM closed_results
WHERE task_id = %(task_id)s AND due_at >= %(earlier)s AND due_at < %(since)s AND position > %(position)s
UNION ALL
SELECT id FROM open_results WHERE task_id = %(task_id)s AND due_at < %(until)s
LIMIT %(limit)s
