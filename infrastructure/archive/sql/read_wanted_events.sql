-- As `read_events`, of some streams, by the last byte of their ids, and of some topics whatever their stream is.
-- One comparison, not two: of a range the planner expects so few rows that it would read and sort the whole table.
SELECT notification_id, originator_id, originator_version, topic, state, recorded_at
FROM (
    SELECT
        notification_id, originator_id, originator_version, topic, state, recorded_at,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM events
    WHERE
        notification_id > %(position)s
        AND (
            ((get_byte(uuid_send(originator_id), 15) - %(first)s::int) & 255) < %(width)s::int
            OR topic = ANY (%(topics)s::text[])
        )
    ORDER BY notification_id LIMIT %(limit)s
) AS next
WHERE before < %(bytes)s ORDER BY notification_id
