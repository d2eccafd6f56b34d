-- How many tasks of a status the filters of list_tasks.sql let through.
SELECT count(*)
FROM tasks_by_status
WHERE namespace = %(namespace)s
    AND status = %(status)s::text
    AND (%(trigger_type)s::text IS NULL OR trigger_type = %(trigger_type)s::text)
    AND (%(name)s::text IS NULL OR name ILIKE %(name)s::text)
    AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s::timestamptz)
    AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s::timestamptz)
