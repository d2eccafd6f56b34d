-- The first bytes of the first event of each stream, which tell its namespace.
SELECT originator_id, substring(state FROM 1 FOR %(beginning)s) FROM events
WHERE originator_id = ANY (%(streams)s::uuid[]) AND originator_version = 1
