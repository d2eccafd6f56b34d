-- One reason, however often it is marked.
INSERT INTO standstill (reason) SELECT %(reason)s WHERE NOT EXISTS (SELECT FROM standstill WHERE reason = %(reason)s)
