-- The last event recorded at or before an instant: closed in upon by position, for recorded_at has no index.
WITH RECURSIVE search AS (
    SELECT 0::bigint AS low, coalesce(max(notification_id), 0) + 1 AS high FROM events
    UNION ALL
    SELECT
        CASE WHEN probe.recorded_at <= %(instant)s THEN probe.notification_id ELSE search.low END,
        CASE WHEN probe.recorded_at <= %(instant)s THEN search.high ELSE (search.low + search.high) / 2 END
    FROM search CROSS JOIN LATERAL (
        SELECT notification_id, recorded_at FROM events
        WHERE notification_id >= (search.low + search.high) / 2
        ORDER BY notification_id LIMIT 1
    ) AS probe
    WHERE search.high - search.low > 1
)
SELECT max(low) FROM search
