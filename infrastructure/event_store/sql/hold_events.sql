-- Events that are to be rewritten, for this transaction: as who archives them does, before the log is, so that nobody
-- who appends waits for him.
SELECT FROM events WHERE notification_id = ANY (%(positions)s) ORDER BY notification_id FOR NO KEY UPDATE
