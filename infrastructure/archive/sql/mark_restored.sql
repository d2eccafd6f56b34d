-- The month's events are in the log again.
UPDATE archives SET state = 'restored', changed_at = clock_timestamp() WHERE month = %(month)s
