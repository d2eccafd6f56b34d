-- All of some streams, each in order, and in which version of the row (xmin) it was read.
SELECT
    notification_id, originator_id, originator_version, topic, state, recorded_at, xmin::text::bigint AS seen
FROM events WHERE originator_id = ANY (%(streams)s)
ORDER BY originator_id, originator_version
