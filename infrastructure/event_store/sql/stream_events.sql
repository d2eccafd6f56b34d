-- A stream after a version; one event more than a page holds tells that there is a next one.
SELECT
    event.notification_id, event.originator_id, event.originator_version, event.topic, event.state,
    event.recorded_at, origin.beginning
FROM events AS event
LEFT JOIN LATERAL (
    SELECT substring(first.state FROM 1 FOR %(beginning)s) AS beginning FROM events AS first
    WHERE first.originator_id = event.originator_id AND first.originator_version = 1
) AS origin ON event.originator_version > 1
WHERE event.originator_id = %(stream)s AND event.originator_version > %(after)s
ORDER BY event.originator_version LIMIT %(limit)s
