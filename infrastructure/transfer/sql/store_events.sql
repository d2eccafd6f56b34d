-- At positions of their own, which the identity allows.
COPY events (originator_id, originator_version, topic, state, notification_id, recorded_at) FROM STDIN (FORMAT binary)
