-- All that were ever archived, the oldest month first.
SELECT month, name, size, sha256, manifest_sha256, events, executions, first_stream, end_stream, first_position,
    last_position, state, changed_at
FROM archives ORDER BY month
