-- What was removed is taken by new rows from now on: autovacuum would wait until a fifth of the table is dead. The end
-- of the table is left as it is, for cutting it off takes a lock that readers would wait for.
VACUUM (TRUNCATE false) events
