-- What a stream is about: where it begins, its first event's topic, and the bytes that hold its namespace.
SELECT notification_id, topic, substring(state FROM 1 FOR %(beginning)s) FROM events
WHERE originator_id = %(stream)s AND originator_version = 1
