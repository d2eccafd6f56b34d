-- The last event up to a position, and where the log ends; the database's time for a log without any.
SELECT coalesce(event.recorded_at, clock_timestamp()), (SELECT coalesce(max(notification_id), 0) FROM events)
FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
    SELECT recorded_at FROM events WHERE notification_id <= %(position)s ORDER BY notification_id DESC LIMIT 1
) AS event ON true
