-- How far a page may look: so many events after a position, and whether there are further ones then.
SELECT bound.looked_to, EXISTS (
    SELECT FROM events WHERE notification_id > bound.looked_to AND notification_id <= %(until)s
) AS more
FROM (
    SELECT max(looked_at.notification_id) AS looked_to
    FROM (
        SELECT notification_id FROM events
        WHERE notification_id > %(after)s AND notification_id <= %(until)s
        ORDER BY notification_id LIMIT %(most)s
    ) AS looked_at
) AS bound
