-- What the projector would have written for them.
INSERT INTO closed_results (
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, success, status_code,
    response_headers, response_body, response_truncated, duration_ms, attempts, attempt_log, node, created_at, position
)
SELECT
    chunk.id, chunk.task_id, 'default', 'benchmark', 1, 'scheduled', chunk.due_at, chunk.due_at, 'succeeded', true, 200,
    '{"content-type": "text/plain", "content-length": "2"}', 'ok', false, 2, 1,
    json_build_array(json_build_object(
        'number', 1, 'started_at', chunk.due_text, 'duration_ms', 2, 'status_code', 200, 'error_message', null
    )),
    'history', chunk.due_at, event.notification_id
FROM history_chunk AS chunk
JOIN events AS event ON event.originator_id = chunk.id AND event.originator_version = 2
ORDER BY chunk.number
