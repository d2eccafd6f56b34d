-- Add how many executions succeeded or failed in a minute, by the clock of who recorded the outcome.
-- In the order of their keys: of those who add to the same rows none waits for another who waits for it.
INSERT INTO statistics_minutes AS counted (minute, finished)
SELECT * FROM unnest(%(minute)b::timestamptz[], %(finished)b::bigint[])
ORDER BY 1
ON CONFLICT (minute) DO UPDATE SET finished = counted.finished + excluded.finished
