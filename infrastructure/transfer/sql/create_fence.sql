-- A mark that schedulers look for before they begin; it goes with the database, into dumps and copies of it.
CREATE TABLE IF NOT EXISTS standstill (reason text NOT NULL, since timestamptz NOT NULL DEFAULT clock_timestamp())
