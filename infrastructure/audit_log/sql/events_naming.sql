-- What tells of the redaction of a task names 200 events a row, so of many executions only these rows are read.
SELECT notification_id, originator_version, recorded_at, topic, state FROM events
WHERE originator_id = %(stream)s AND position(%(named)s::bytea IN state) > 0 ORDER BY originator_version
