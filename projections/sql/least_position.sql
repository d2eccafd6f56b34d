-- What every projection has applied; nothing, while one of them has not begun.
SELECT CASE WHEN count(*) = cardinality(%(names)s::text[]) THEN min(position) ELSE 0 END
FROM projection_checkpoints WHERE name = ANY (%(names)s::text[])
