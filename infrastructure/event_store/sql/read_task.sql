-- A task's snapshot, if there is one by these rules whose event the log holds, and the events behind it.
WITH snapshot AS (
    SELECT kept.position, kept.version, kept.kind, kept.state, event.recorded_at
    FROM task_snapshots AS kept
    JOIN events AS event
        ON event.originator_id = kept.task_id AND event.originator_version = kept.version
        AND event.notification_id = kept.position
    WHERE kept.task_id = %(task_id)s AND kept.fold = %(fold)s
)
SELECT true AS kept, position, %(task_id)s::uuid, version, kind, state, recorded_at FROM snapshot
UNION ALL
SELECT false, notification_id, originator_id, originator_version, topic, state, recorded_at FROM events
WHERE originator_id = %(task_id)s AND originator_version > coalesce((SELECT version FROM snapshot), 0)
ORDER BY version
