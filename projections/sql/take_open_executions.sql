-- When the executions of a batch were due that began before it and whose first attempt was not over.
DELETE FROM statistics_open WHERE execution_id = ANY (%(ids)s) RETURNING execution_id, due_at
