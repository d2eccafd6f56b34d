-- Which of these tables and views the current schema has, and which of the two each is.
SELECT relname, relkind FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v') AND relname = ANY (%(names)s::text[])
