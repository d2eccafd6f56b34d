-- Why schedulers may not begin.
SELECT reason FROM standstill ORDER BY since LIMIT 1
