-- It is applied after all.
DELETE FROM parked_events WHERE projection = %(projection)s AND position = %(position)s
