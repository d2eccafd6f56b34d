-- From here to the commit nothing is appended, and what was is committed: whoever comes next sees what this does.
SELECT pg_advisory_xact_lock(hashtextextended('chronoledger.events', 0))
