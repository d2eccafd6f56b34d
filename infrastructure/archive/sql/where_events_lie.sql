-- The positions between which events of a month lie, where the log ends, how far read models and seals are, what of the month
-- is parked, and what of tasks, whose rows may not be what they have to be then.
SELECT
    min(notification_id), max(notification_id),
    (SELECT max(notification_id) FROM events),
    (SELECT CASE count(*) WHEN cardinality(%(projections)s::text[]) THEN min(position) ELSE 0 END
     FROM projection_checkpoints WHERE name = ANY (%(projections)s::text[])),
    (SELECT count(*) FROM parked_events JOIN events AS parked ON parked.notification_id = parked_events.position
     WHERE parked.originator_id >= %(first)s AND parked.originator_id < %(end)s),
    (SELECT last_position FROM sealed_blocks ORDER BY first_leaf DESC LIMIT 1),
    (SELECT count(*) FROM parked_events WHERE projection = 'tasks')
FROM events WHERE originator_id >= %(first)s AND originator_id < %(end)s
