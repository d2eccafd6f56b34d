-- Schedulers may begin.
DROP TABLE IF EXISTS standstill
