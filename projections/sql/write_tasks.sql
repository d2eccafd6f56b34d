-- Whole rows of tasks that were created or got a new definition.
INSERT INTO tasks AS task (
    id, namespace, name, trigger_type, trigger_time, cron_expr, every_seconds, timezone, method, url, headers,
    payload,
    timeout_seconds, retry, status, created_at, updated_at, next_run, fires_at, runs, version, position,
    paused_at, resumed_at, pause_note, definition
)
SELECT * FROM unnest(
    %(id)b::uuid[], %(namespace)b::text[], %(name)b::text[], %(trigger_type)b::text[],
    %(trigger_time)b::timestamptz[], %(cron_expr)b::text[], %(every_seconds)b::bigint[],
    %(timezone)b::text[], %(method)b::text[],
    %(url)b::text[], %(headers)b::jsonb[], %(payload)b::jsonb[], %(timeout_seconds)b::double precision[],
    %(retry)b::jsonb[], %(status)b::text[], %(created_at)b::timestamptz[], %(updated_at)b::timestamptz[],
    %(next_run)b::timestamptz[], %(fires_at)b::timestamptz[], %(runs)b::bigint[],
    %(version)b::bigint[], %(position)b::bigint[], %(paused_at)b::timestamptz[],
    %(resumed_at)b::timestamptz[], %(pause_note)b::text[], %(definition)b::json[]
)
ON CONFLICT (id) DO UPDATE SET
    namespace = excluded.namespace, name = excluded.name, trigger_type = excluded.trigger_type,
    trigger_time = excluded.trigger_time, cron_expr = excluded.cron_expr, every_seconds = excluded.every_seconds,
    timezone = excluded.timezone,
    method = excluded.method, url = excluded.url, headers = excluded.headers, payload = excluded.payload,
    timeout_seconds = excluded.timeout_seconds, retry = excluded.retry, status = excluded.status,
    created_at = excluded.created_at, updated_at = excluded.updated_at, next_run = excluded.next_run,
    fires_at = excluded.fires_at, runs = excluded.runs,
    version = excluded.version, position = excluded.position, paused_at = excluded.paused_at,
    resumed_at = excluded.resumed_at, pause_note = excluded.pause_note, definition = excluded.definition
WHERE task.position < excluded.position
