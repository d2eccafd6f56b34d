-- Where the events of each stream of a month are, in the order of the streams.
SELECT originator_id, notification_id FROM events
WHERE originator_id >= %(first)s AND originator_id < %(end)s
ORDER BY originator_id, originator_version
