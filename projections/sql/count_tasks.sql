-- How many tasks of whatever status the filters of list_tasks.sql let through; the states need not be read for it.
SELECT count(*)
FROM task_definitions
WHERE namespace = %(namespace)s
    AND (%(trigger_type)s::text IS NULL OR trigger_type = %(trigger_type)s::text)
    AND (%(name)s::text IS NULL OR name ILIKE %(name)s::text)
    AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s::timestamptz)
    AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s::timestamptz)
