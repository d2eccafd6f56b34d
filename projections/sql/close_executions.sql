-- Their first attempt is over, or there will be none.
DELETE FROM statistics_open WHERE execution_id = ANY (%(ids)b::uuid[])
