-- How many tasks have which status, over all namespaces.
SELECT status, sum(total)::bigint FROM task_counts GROUP BY status
