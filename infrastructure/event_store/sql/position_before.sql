-- The last position that was recorded before an instant, 0: none. Events are recorded in the order of their
-- positions, so bisection finds it by some thirty looks at the index of a long log, without one on recorded_at.
WITH RECURSIVE bisection (low, high) AS (
    SELECT 0::bigint, coalesce(max(notification_id), 0) + 1 FROM events
    UNION ALL
    SELECT
        CASE WHEN probe.recorded_at < %(instant)s THEN probe.position ELSE bisection.low END,
        CASE WHEN probe.recorded_at < %(instant)s THEN bisection.high ELSE (bisection.low + bisection.high) / 2 END
    FROM bisection
    LEFT JOIN LATERAL (
        SELECT event.notification_id AS position, event.recorded_at FROM events AS event
        WHERE event.notification_id >= (bisection.low + bisection.high) / 2
            AND event.notification_id < bisection.high
        ORDER BY event.notification_id LIMIT 1
    ) AS probe ON true
    WHERE bisection.high - bisection.low > 1
)
SELECT max(low) FROM bisection
