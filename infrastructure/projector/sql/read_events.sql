-- The next events of the log: those before which fewer than so many bytes of state lie, so always one, however large.
-- How long a state is stands in its row, wherever the state itself is stored: what does not fit is not fetched.
SELECT notification_id, originator_id, originator_version, topic, state
FROM (
    SELECT
        notification_id, originator_id, originator_version, topic, state,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM events WHERE notification_id > %(position)s ORDER BY notification_id LIMIT %(limit)s
) AS next
WHERE before < %(bytes)s ORDER BY notification_id
