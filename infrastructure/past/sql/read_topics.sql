-- The next events of some kinds, up to a position.
SELECT notification_id, originator_id, originator_version, topic, state FROM events
WHERE notification_id > %(after)s AND notification_id <= %(until)s AND topic = ANY (%(topics)s)
ORDER BY notification_id
LIMIT %(limit)s
