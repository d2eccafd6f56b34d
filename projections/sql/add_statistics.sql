-- Add a batch's counts.
INSERT INTO statistics AS counted (metric, label, total)
SELECT * FROM unnest(%(metric)b::text[], %(label)b::text[], %(total)b::bigint[])
ON CONFLICT (metric, label) DO UPDATE SET total = counted.total + excluded.total
