-- Which of these tables the current schema has.
SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY (%(names)s::text[])
