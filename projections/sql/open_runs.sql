-- Scheduled occurrences that are not over, with the checkpoint they reflect: one statement, so one snapshot.
-- Queues come in the order of the log, which all nodes share; due_at may be otherwise after a clock was wrong.
SELECT checkpoint.position, run.task_id, run.id, run.status = 'pending'
FROM (
    SELECT coalesce(max(position), 0) AS position FROM projection_checkpoints WHERE name = 'task_results'
) AS checkpoint
LEFT JOIN LATERAL (
    SELECT task_id, id, status, due_at, 0 AS queued_at
    FROM task_results WHERE status = 'running' AND kind = 'scheduled'
    UNION ALL
    SELECT task_id, id, status, due_at, position
    FROM task_results WHERE status = 'pending' AND kind = 'scheduled'
) AS run ON true
ORDER BY run.queued_at, run.due_at, run.id
