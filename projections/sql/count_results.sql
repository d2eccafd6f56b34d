-- How many occurrences the filters of list_results.sql let through.
SELECT count(*)
FROM task_results
WHERE namespace = %(namespace)s
    AND (%(task_id)s::uuid IS NULL OR task_id = %(task_id)s::uuid)
    AND (%(success)s::boolean IS NULL OR success = %(success)s::boolean)
    AND (%(status)s::text IS NULL OR status = %(status)s::text)
    AND (%(status_code)s::int IS NULL OR status_code = %(status_code)s::int)
    AND (%(due_from)s::timestamptz IS NULL OR due_at >= %(due_from)s::timestamptz)
    AND (%(due_to)s::timestamptz IS NULL OR due_at < %(due_to)s::timestamptz)
