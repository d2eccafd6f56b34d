-- Events at their old places.
COPY events (notification_id, originator_id, originator_version, topic, state, recorded_at) FROM STDIN (FORMAT BINARY)
