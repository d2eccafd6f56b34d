-- New states and places of tasks that keep their definition.
UPDATE tasks AS task SET
    status = change.status, updated_at = change.updated_at, next_run = change.next_run,
    version = change.version, position = change.position
FROM unnest(
    %(id)b::uuid[], %(status)b::text[], %(updated_at)b::timestamptz[], %(next_run)b::timestamptz[],
    %(version)b::bigint[], %(position)b::bigint[]
) AS change (id, status, updated_at, next_run, version, position)
WHERE task.id = change.id AND task.position < change.position
