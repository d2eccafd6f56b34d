-- For this reason no longer.
DELETE FROM standstill WHERE reason = %(reason)s
