-- Where the log goes on after a position; NULL: it ends there.
SELECT min(notification_id) FROM events WHERE notification_id > %(position)s
