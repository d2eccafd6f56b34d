-- Whoever holds these rows may write to the projections' tables: a batch, a replay, or the swap of a rebuild.
SELECT name, version, position, EXISTS (SELECT FROM parked_events WHERE projection = name) AS has_parked
FROM projection_checkpoints
WHERE name = ANY (%(names)s::text[])
ORDER BY name
FOR UPDATE OF projection_checkpoints
