-- The first event within two positions that goes on from one which is not there before it.
SELECT event.notification_id FROM events AS event
WHERE event.notification_id BETWEEN %(first)s AND %(last)s AND event.originator_version > 1 AND NOT EXISTS (
    SELECT FROM events AS earlier
    WHERE earlier.originator_id = event.originator_id AND earlier.originator_version = event.originator_version - 1
        AND earlier.notification_id < event.notification_id
)
ORDER BY event.notification_id LIMIT 1
