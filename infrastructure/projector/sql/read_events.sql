-- The next events of the log.
SELECT notification_id, originator_id, originator_version, topic, state FROM events
WHERE notification_id > %(position)s ORDER BY notification_id LIMIT %(limit)s
