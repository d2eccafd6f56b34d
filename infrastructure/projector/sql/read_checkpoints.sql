-- How far these projections have come.
SELECT name, position FROM projection_checkpoints WHERE name = ANY (%(names)s::text[])
