-- Remember when an execution was due until its first attempt is over.
INSERT INTO statistics_open (execution_id, due_at)
SELECT * FROM unnest(%(execution_id)b::uuid[], %(due_at)b::timestamptz[])
ON CONFLICT (execution_id) DO NOTHING
