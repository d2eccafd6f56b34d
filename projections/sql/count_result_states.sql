-- A row of zero stays: whether it is there must not depend on how the log was cut into batches.
-- In the order of their keys: of those who add to the same rows none waits for another who waits for it.
INSERT INTO result_counts AS counted (namespace, status, total)
SELECT * FROM unnest(%(namespace)b::text[], %(status)b::text[], %(total)b::bigint[])
ORDER BY 1, 2
ON CONFLICT (namespace, status) DO UPDATE SET total = counted.total + excluded.total
