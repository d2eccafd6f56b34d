-- The next events of the log, bounded by number and by the bytes of what is stored, as the projector reads them.
SELECT notification_id, originator_id, originator_version, topic, state, recorded_at
FROM (
    SELECT
        notification_id, originator_id, originator_version, topic, state, recorded_at,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM events WHERE notification_id > %(position)s ORDER BY notification_id LIMIT %(limit)s
) AS next
WHERE before < %(bytes)s ORDER BY notification_id
