-- What a projection has set aside of a stretch of the log.
SELECT position FROM parked_events WHERE projection = %(projection)s AND position BETWEEN %(first)s AND %(last)s
