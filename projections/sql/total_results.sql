-- The same as count_results.sql when no filter but status and success is set, without reading the ledger.
SELECT coalesce(sum(total), 0)::bigint
FROM result_counts
WHERE namespace = %(namespace)s
    AND (%(status)s::text IS NULL OR status = %(status)s::text)
    AND (%(success)s::boolean IS NULL OR status = CASE WHEN %(success)s::boolean THEN 'succeeded' ELSE 'failed' END)
