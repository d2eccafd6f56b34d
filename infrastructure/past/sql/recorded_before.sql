-- The last event up to a position, where that is, and where the log ends; the database's time if there is none.
SELECT coalesce(event.recorded_at, clock_timestamp()), event.position, (
    SELECT coalesce(max(notification_id), 0) FROM events
)
FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
    SELECT recorded_at, notification_id AS position FROM events
    WHERE notification_id <= %(position)s ORDER BY notification_id DESC LIMIT 1
) AS event ON true
