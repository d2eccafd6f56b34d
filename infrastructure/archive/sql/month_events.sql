-- Events of a month in the order of their positions.
SELECT notification_id, originator_id, originator_version, topic, state, recorded_at FROM events
WHERE originator_id >= %(first)s AND originator_id < %(end)s
ORDER BY notification_id
