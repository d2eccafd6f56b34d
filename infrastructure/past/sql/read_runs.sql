-- Whole streams of some executions.
SELECT notification_id, originator_id, originator_version, topic, state, recorded_at FROM events
WHERE originator_id = ANY (%(runs)s)
ORDER BY originator_id, originator_version
