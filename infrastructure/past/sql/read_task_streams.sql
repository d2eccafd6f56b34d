-- Events of tasks in the order of their streams, up to a position: ids keep tasks apart from all that runs.
SELECT notification_id, originator_id, originator_version, topic, state FROM events
WHERE (originator_id, originator_version) > (%(stream)s, %(version)s)
    AND originator_id < %(before)s
    AND notification_id <= %(until)s
ORDER BY originator_id, originator_version
LIMIT %(limit)s
