SELECT notification_id, originator_version, recorded_at, topic, state FROM events
WHERE originator_id = %(stream)s ORDER BY originator_version
