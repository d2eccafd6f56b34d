-- One process at a time creates tables or swaps them.
SELECT pg_advisory_xact_lock(hashtextextended('chronoledger.projections.tables', 0))
