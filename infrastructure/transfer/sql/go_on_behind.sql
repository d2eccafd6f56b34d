-- The next event that is appended gets the position after this one.
SELECT setval(pg_get_serial_sequence('events', 'notification_id'), %(last)s)
