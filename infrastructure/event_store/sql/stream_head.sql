-- The version of a stream's last event, without the stream: 0, if there is none.
SELECT coalesce(max(originator_version), 0) FROM events WHERE originator_id = %(stream)s
