-- The next events up to a position: those before which fewer than so many bytes of state lie, so always one. Each with
-- how its stream begins, which tells what it is about. What belongs to executions and keys names its task before
-- anything that a user wrote; state is left out where that is another task, or cannot be the namespace.
-- What tells of redactions belongs to the task.
-- `cut`: the event goes on from one before the first position that is asked for.
SELECT
    notification_id, originator_id, originator_version, topic, CASE WHEN wanted THEN state END AS state, recorded_at,
    coalesce(origin_topic, '') AS origin_topic, coalesce(beginning, '') AS beginning,
    coalesce((
        SELECT earlier.notification_id < %(first)s FROM events AS earlier
        WHERE earlier.originator_id = next.originator_id AND earlier.originator_version = next.originator_version - 1
    ), false) AS cut
FROM (
    SELECT
        event.*, origin.topic AS origin_topic, origin.beginning,
        (
            %(task_id)s::uuid IS NULL OR origin.stream = %(task_id)s
            OR NOT starts_with(origin.topic, 'task.') AND position(%(task_named)s IN origin.beginning) > 0
        ) AND (%(namespace_named)s::bytea IS NULL OR position(%(namespace_named)s IN origin.beginning) > 0) AS wanted,
        sum(octet_length(event.state)) OVER (ORDER BY event.notification_id ROWS UNBOUNDED PRECEDING)
            - octet_length(event.state) AS before
    FROM (
        SELECT notification_id, originator_id, originator_version, topic, state, recorded_at FROM events
        WHERE notification_id > %(after)s AND notification_id <= %(until)s
        ORDER BY notification_id LIMIT %(limit)s
    ) AS event
    LEFT JOIN LATERAL (
        SELECT
            first.originator_id AS stream, first.topic, substring(first.state FROM 1 FOR %(beginning)s) AS beginning
        FROM events AS first
        WHERE first.originator_version = 1 AND first.originator_id = CASE
            WHEN event.topic <> 'events.redacted.v1' THEN event.originator_id
            ELSE substring(
                encode(substring(event.state FROM 1 FOR %(beginning)s), 'escape')
                FROM '"task_id":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"'
            )::uuid
        END
    ) AS origin ON true
) AS next
WHERE before < %(bytes)s ORDER BY notification_id
