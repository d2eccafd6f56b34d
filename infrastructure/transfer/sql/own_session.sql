-- By what this session can be told from every other one of the server.
SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()
