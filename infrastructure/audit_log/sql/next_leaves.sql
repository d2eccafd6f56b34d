-- The next events as leaves (`domain/sealing.py` says what is hashed), without moving their states out of the database.
-- Positions are committed in their order, so nothing can come between them later.
SELECT
    count(*), coalesce(min(position), 0), coalesce(max(position), 0),
    coalesce(string_agg(int8send(position), '' ORDER BY position), ''),
    coalesce(string_agg(leaf_hash, '' ORDER BY position), ''),
    clock_timestamp()
FROM (
    SELECT
        notification_id AS position,
        sha256(
            '\x00'::bytea || int8send(notification_id) || uuid_send(originator_id) || int8send(originator_version)
            || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint)
            || substring(int4send(octet_length(convert_to(topic, 'UTF8'))) FROM 3) || convert_to(topic, 'UTF8')
            || appended_digest(state)
        ) AS leaf_hash
    FROM events WHERE notification_id > %(after)s ORDER BY notification_id LIMIT %(limit)s
) AS leaf
