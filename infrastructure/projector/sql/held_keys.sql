-- The keys whose events have to wait, and behind which event.
SELECT key, min(position) FROM parked_events WHERE projection = %(projection)s AND key = ANY (%(keys)s::uuid[])
GROUP BY key
