-- New tables start with parked events of their own.
DELETE FROM parked_events WHERE projection = ANY (%(names)s::text[])
