-- How far each projection has come, and how many events it had to park.
SELECT name, position, (SELECT count(*) FROM parked_events WHERE projection = name)
FROM projection_checkpoints WHERE name = ANY (%(names)s)
