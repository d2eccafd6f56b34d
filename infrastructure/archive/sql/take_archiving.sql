-- One at a time archives or restores; the lock goes with its session.
SELECT pg_try_advisory_lock(hashtextextended('chronoledger.archiving', 0))
