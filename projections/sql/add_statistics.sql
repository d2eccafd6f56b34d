-- Add a batch's counts.
-- In the order of their keys: of those who add to the same rows none waits for another who waits for it.
INSERT INTO statistics AS counted (metric, label, total)
SELECT * FROM unnest(%(metric)b::text[], %(label)b::text[], %(total)b::bigint[])
ORDER BY 1, 2
ON CONFLICT (metric, label) DO UPDATE SET total = counted.total + excluded.total
