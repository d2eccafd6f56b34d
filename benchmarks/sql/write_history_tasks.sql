-- What creating a task would have appended, as often as asked for, with ids like UUIDv7.
INSERT INTO events (originator_id, originator_version, topic, state)
SELECT
    (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7' || left(digest, 3) || '8' || substr(digest, 4, 15))::uuid,
    1, 'task.created.v1', convert_to(%(created)s::text, 'UTF8')
FROM generate_series(1, %(tasks)s::bigint) AS number, md5(random()::text || number) AS digest
