-- Every execution of a task, and whether it is over: of one that the ledger could not apply, its own events tell.
SELECT id, status NOT IN ('pending', 'running') FROM task_results WHERE task_id = %(task_id)s
UNION
SELECT parked.key, true
FROM parked_events AS parked JOIN events AS event ON event.notification_id = parked.position
WHERE parked.projection = 'task_results'
    AND position(%(named)s IN substring(event.state FROM 1 FOR 4096)) > 0
    AND parked.key <> %(task_id)s
    AND NOT EXISTS (SELECT FROM task_results WHERE id = parked.key)
ORDER BY 1
