-- New states and places of tasks that keep their definition.
UPDATE tasks AS task SET
    status = change.status, updated_at = change.updated_at, next_run = change.next_run,
    fires_at = change.fires_at, runs = change.runs, version = change.version, position = change.position,
    paused_at = change.paused_at,
    resumed_at = change.resumed_at, pause_note = change.pause_note
FROM unnest(
    %(id)b::uuid[], %(status)b::text[], %(updated_at)b::timestamptz[], %(next_run)b::timestamptz[],
    %(fires_at)b::timestamptz[], %(runs)b::bigint[],
    %(version)b::bigint[], %(position)b::bigint[], %(paused_at)b::timestamptz[], %(resumed_at)b::timestamptz[],
    %(pause_note)b::text[]
) AS change (
    id, status, updated_at, next_run, fires_at, runs, version, position, paused_at, resumed_at, pause_note
)
WHERE task.id = change.id AND task.position < change.position
