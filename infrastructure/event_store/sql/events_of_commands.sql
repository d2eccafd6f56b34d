-- What was appended by the same commands as some events, which lies next to them: a command is one group.
SELECT DISTINCT
    event.notification_id, event.originator_id, event.originator_version, event.topic, event.state,
    event.recorded_at, event.xmin::text::bigint AS seen
FROM unnest(%(positions)s::bigint[], %(commands)s::text[]) AS command (position, id)
JOIN events AS event
    ON event.notification_id BETWEEN command.position - %(reach)s AND command.position + %(reach)s
    AND event.notification_id <> command.position
WHERE event.originator_id <> ALL (%(streams)s)
    AND position(
        convert_to('"command_id":"' || command.id || '"', 'UTF8') IN substring(event.state FROM 1 FOR %(beginning)s)
    ) > 0
ORDER BY event.notification_id
