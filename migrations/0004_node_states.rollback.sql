ALTER TABLE nodes
    DROP COLUMN claims,
    DROP COLUMN clock_right,
    DROP COLUMN clock_offset_ms,
    DROP COLUMN share,
    DROP COLUMN in_flight,
    DROP COLUMN entries,
    DROP COLUMN position;
