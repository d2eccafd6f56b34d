-- Whether there is a mark at all.
SELECT to_regclass('standstill') IS NOT NULL
