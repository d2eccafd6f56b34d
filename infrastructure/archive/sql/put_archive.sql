-- The month's events are in this file from now on; no row: they are in an earlier one, which stays what it is.
INSERT INTO archives (
    month, name, size, sha256, manifest_sha256, events, executions, first_stream, end_stream, first_position,
    last_position, state
) VALUES (
    %(month)s, %(name)s, %(size)s, %(sha256)s, %(manifest_sha256)s, %(events)s, %(executions)s, %(first_stream)s,
    %(end_stream)s, %(first_position)s, %(last_position)s, 'archived'
)
ON CONFLICT (month) DO UPDATE SET
    name = excluded.name, size = excluded.size, sha256 = excluded.sha256,
    manifest_sha256 = excluded.manifest_sha256, events = excluded.events, executions = excluded.executions,
    first_position = excluded.first_position, last_position = excluded.last_position, state = excluded.state, changed_at = clock_timestamp()
WHERE archives.state = 'restored'
