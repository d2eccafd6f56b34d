-- These have come to where the whole is.
DELETE FROM projection_checkpoints WHERE name = ANY (%(names)s::text[])
