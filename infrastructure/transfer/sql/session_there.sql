-- Whether a session is one of this database.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid = %(pid)s AND backend_start = %(began)s AND datname = current_database()
)
