-- What is sealed of each event, in the form of the wire: nothing that is stored there cannot be read. Of a state only
-- the digest is needed.
SELECT
    notification_id, uuid_send(originator_id), originator_version, timestamptz_send(recorded_at),
    convert_to(topic, 'UTF8'), sha256(state)
FROM events ORDER BY notification_id
