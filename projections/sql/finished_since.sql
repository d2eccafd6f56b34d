-- Executions finished since a minute, and the minute of the first one ever.
SELECT
    coalesce((SELECT sum(finished) FROM statistics_minutes WHERE minute >= %(since)s), 0)::bigint,
    (SELECT min(minute) FROM statistics_minutes)
