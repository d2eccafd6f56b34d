-- The same as count_tasks.sql when no filter but the status is set, without reading a single task.
SELECT coalesce(sum(total), 0)::bigint
FROM task_counts
WHERE namespace = %(namespace)s AND (%(status)s::text IS NULL OR status = %(status)s::text)
