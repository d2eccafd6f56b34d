-- Whether events of a month were recorded after a position, or any were redacted, and where the log ends now.
SELECT
    coalesce(
        bool_or(originator_id >= %(first)s AND originator_id < %(end)s OR topic = 'events.redacted.v1'), false
    ),
    coalesce(max(notification_id), %(position)s)
FROM events WHERE notification_id > %(position)s
