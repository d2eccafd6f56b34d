-- The columns of a table in order, their types, and whether they are part of its key.
SELECT attname, format_type(atttypid, atttypmod), attnum = ANY (key.indkey::int2[])
FROM pg_attribute JOIN pg_index AS key ON key.indrelid = attrelid AND key.indisprimary
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
