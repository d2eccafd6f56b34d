-- One piece of a redaction: what tells of it, and the events as they are from now on.
SELECT redact_events(
    %(streams)s::uuid[], %(versions)s::bigint[], %(topics)s::text[], %(states)s::bytea[],
    %(guard_streams)s::uuid[], %(guard_versions)s::bigint[],
    %(positions)s::bigint[], %(seen)s::bigint[], %(rewritten)s::bytea[], %(task)s::uuid
)
