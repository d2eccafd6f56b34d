-- The position of the newest event.
SELECT coalesce(max(notification_id), 0) FROM events
