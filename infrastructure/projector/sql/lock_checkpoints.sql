-- Whoever holds these rows may write to the projections' tables: a batch, a replay, or the swap of a rebuild.
-- Statements of a batch are planned once for many batches, the first of which find tables that are empty, where a
-- plan without an index looks good: until the transaction ends, there are no such plans.
-- A `relaxed` commit does not wait for the disk: rows and position are lost together, and made anew of the log.
SELECT name, version, position, EXISTS (SELECT FROM parked_events WHERE projection = name) AS has_parked,
    set_config('enable_seqscan', 'off', true),
    set_config(
        'synchronous_commit', CASE WHEN %(relaxed)s THEN 'off' ELSE current_setting('synchronous_commit') END, true
    )
FROM projection_checkpoints
WHERE name = ANY (%(names)s::text[])
ORDER BY name
FOR UPDATE OF projection_checkpoints
