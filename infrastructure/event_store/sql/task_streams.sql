-- Events of tasks in the order of their streams, after a place: ids keep tasks apart from all that runs.
SELECT notification_id, originator_id, originator_version, topic, state, recorded_at FROM events
WHERE (originator_id, originator_version) > (%(stream)s, %(version)s) AND originator_id < %(before)s
ORDER BY originator_id, originator_version LIMIT %(limit)s
