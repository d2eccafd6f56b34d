-- What matches within a bounded run of positions. Who, about what and in which namespace stands in the first bytes
-- of what is stored, which are read without the rest; whoever asks looks again at what they may have let through.
SELECT
    event.notification_id, event.originator_id, event.originator_version, event.topic, event.state,
    event.recorded_at, origin.beginning
FROM events AS event
LEFT JOIN LATERAL (
    SELECT substring(first.state FROM 1 FOR %(beginning)s) AS beginning FROM events AS first
    WHERE first.originator_id = event.originator_id AND first.originator_version = 1
) AS origin ON event.originator_version > 1
WHERE event.notification_id > %(after)s AND event.notification_id <= %(looked_to)s
    AND (%(topic)s::text IS NULL OR starts_with(event.topic, %(topic)s))
    AND (%(recorded_from)s::timestamptz IS NULL OR event.recorded_at >= %(recorded_from)s)
    AND (%(recorded_to)s::timestamptz IS NULL OR event.recorded_at < %(recorded_to)s)
    AND (%(actor)s::bytea IS NULL OR substring(event.state FROM 1 FOR length(%(actor)s)) = %(actor)s)
    AND (
        %(task_id)s::uuid IS NULL OR event.originator_id = %(task_id)s
        OR position(%(task_named)s IN substring(event.state FROM 1 FOR %(beginning)s)) > 0
    )
    AND (
        %(namespace)s::bytea IS NULL
        OR position(%(namespace)s IN coalesce(origin.beginning, substring(event.state FROM 1 FOR %(beginning)s))) > 0
    )
ORDER BY event.notification_id LIMIT %(limit)s
