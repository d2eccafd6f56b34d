-- Two events an occurrence, in the order in which they would have been appended.
INSERT INTO events (originator_id, originator_version, topic, state)
SELECT
    chunk.id,
    event.version,
    event.topic,
    convert_to(
        replace(replace(event.template, %(task)s::text, chunk.task_id::text), %(due)s::text, chunk.due_text), 'UTF8'
    )
FROM history_chunk AS chunk
CROSS JOIN (
    VALUES (1, 'execution.started.v1', %(started)s::text), (2, 'execution.succeeded.v1', %(succeeded)s::text)
) AS event (version, topic, template)
ORDER BY chunk.number, event.version
