-- When the executions of a batch were due that began before it and whose first attempt was not over.
SELECT execution_id, due_at FROM statistics_open WHERE execution_id = ANY (%(ids)b::uuid[])
