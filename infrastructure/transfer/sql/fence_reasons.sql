-- Why schedulers may not begin.
SELECT reason FROM standstill
