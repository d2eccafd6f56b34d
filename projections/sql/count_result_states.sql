-- A row of zero stays: whether it is there must not depend on how the log was cut into batches.
INSERT INTO result_counts AS counted (namespace, status, total)
SELECT * FROM unnest(%(namespace)b::text[], %(status)b::text[], %(total)b::bigint[])
ON CONFLICT (namespace, status) DO UPDATE SET total = counted.total + excluded.total
