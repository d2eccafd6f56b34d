-- Where the read models live.
SELECT current_schema()
