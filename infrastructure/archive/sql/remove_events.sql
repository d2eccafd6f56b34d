-- Some streams of an archived month: so few that what the trigger looks at stays in memory, and at least one, however
-- many events it has.
DELETE FROM events
WHERE originator_id >= %(first)s AND originator_id < %(end)s AND originator_id <= coalesce((
    SELECT originator_id FROM events WHERE originator_id >= %(first)s AND originator_id < %(end)s
    ORDER BY originator_id OFFSET %(most)s LIMIT 1
), %(end)s)
