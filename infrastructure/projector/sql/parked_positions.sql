-- What a projection has set aside, in order.
SELECT position FROM parked_events WHERE projection = %(projection)s AND position > %(after)s ORDER BY position LIMIT %(limit)s
