-- The next events up to a position: those before which fewer than so many bytes of state lie, so always one.
SELECT notification_id, originator_id, originator_version, topic, state, recorded_at
FROM (
    SELECT
        notification_id, originator_id, originator_version, topic, state, recorded_at,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM events WHERE notification_id > %(after)s AND notification_id <= %(until)s
    ORDER BY notification_id LIMIT %(limit)s
) AS next
WHERE before < %(bytes)s ORDER BY notification_id
