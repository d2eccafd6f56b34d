-- Whether events of a month were recorded after a position, and where the log ends now.
SELECT
    coalesce(bool_or(originator_id >= %(first)s AND originator_id < %(end)s), false),
    coalesce(max(notification_id), %(position)s)
FROM events WHERE notification_id > %(position)s
