-- As every append does, but for as long as the connection lasts.
SELECT pg_try_advisory_lock(hashtextextended('chronoledger.events', 0))
