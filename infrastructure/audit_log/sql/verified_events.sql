-- What is sealed of each event, in the form of the wire: nothing that is stored there cannot be read. Of a state only
-- the digest is needed; of a rewritten one that of what it was, beside what it is, and what tells of rewriting.
SELECT
    notification_id, uuid_send(originator_id), originator_version, timestamptz_send(recorded_at),
    convert_to(topic, 'UTF8'), appended_digest(state),
    CASE WHEN is_redacted(state) THEN state END, CASE WHEN topic = 'events.redacted.v1' THEN state END
FROM events ORDER BY notification_id
