-- Set events aside; parking one again only renews its error.
INSERT INTO parked_events (projection, position, key, error)
SELECT %(projection)s, * FROM unnest(%(position)s::bigint[], %(key)s::uuid[], %(error)s::text[])
ON CONFLICT (projection, position) DO UPDATE SET error = excluded.error, parked_at = clock_timestamp()
