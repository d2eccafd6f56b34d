-- Which streams are not in the log: they have left it for an archive.
SELECT stream FROM unnest(%(streams)s::uuid[]) AS stream
WHERE NOT EXISTS (SELECT FROM events WHERE originator_id = stream AND originator_version = 1)
ORDER BY stream
