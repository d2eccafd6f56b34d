-- Whether any of these projections has set events aside.
SELECT EXISTS (SELECT FROM parked_events WHERE projection = ANY (%(names)s::text[]))
