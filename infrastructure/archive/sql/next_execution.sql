-- The earliest execution from an id on: an id begins with the instant at which it is due.
SELECT originator_id FROM events WHERE originator_id >= %(from)s ORDER BY originator_id LIMIT 1
