-- Add how many executions succeeded or failed in a minute, by the clock of who recorded the outcome.
INSERT INTO statistics_minutes AS counted (minute, finished)
SELECT * FROM unnest(%(minute)b::timestamptz[], %(finished)b::bigint[])
ON CONFLICT (minute) DO UPDATE SET finished = counted.finished + excluded.finished
