-- Occurrences 10 ms apart since 2020, with ids as `domain.identity` makes them but for the hash.
INSERT INTO history_chunk (number, id, task_id, due_at, due_text)
SELECT
    occurrence.number,
    (lpad(to_hex((1::bigint << 47) | milliseconds), 12, '0') || '8' || left(digest, 3) || '8' || substr(digest, 4, 15))::uuid,
    task.id,
    to_timestamp(milliseconds / 1000.0),
    to_char(to_timestamp(milliseconds / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM (
    SELECT number, md5(number::text) AS digest, 1577836800000 + number * 10 AS milliseconds
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS number
) AS occurrence
JOIN history_tasks AS task ON task.number = occurrence.number %% (SELECT count(*) FROM history_tasks)
