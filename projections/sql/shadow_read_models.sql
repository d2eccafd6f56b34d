-- Until the transaction ends, read models are made and found among the session's temporary tables.
SELECT set_config('search_path', 'pg_temp, ' || current_setting('search_path'), true)
