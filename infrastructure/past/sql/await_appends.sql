-- Returns once what is being appended has committed: whoever comes after it is recorded later.
SELECT pg_advisory_xact_lock_shared(hashtextextended('chronoledger.events', 0))
