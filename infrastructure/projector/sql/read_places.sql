-- Which version of a projection has come how far.
SELECT name, version, position FROM projection_checkpoints WHERE name = ANY (%(names)s::text[])
