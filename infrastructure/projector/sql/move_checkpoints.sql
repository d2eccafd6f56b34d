-- The position that was expected is part of the condition: nobody applies a batch twice.
UPDATE projection_checkpoints SET position = %(position)s, updated_at = clock_timestamp()
WHERE name = ANY (%(names)s::text[]) AND position = %(expected)s
