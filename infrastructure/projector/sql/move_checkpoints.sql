-- The position that was expected is part of the condition: nobody applies a batch twice. Those who wait for a
-- write to become visible hear what is visible, unless nobody can say, when the batch commits.
WITH moved AS (
    UPDATE projection_checkpoints SET position = %(position)s, updated_at = clock_timestamp()
    WHERE name = ANY (%(names)s::text[]) AND position = %(expected)s
    RETURNING name
)
SELECT count(*), CASE WHEN %(visible)s::bigint IS NOT NULL THEN pg_notify('projected', %(visible)s::text) END
FROM moved
