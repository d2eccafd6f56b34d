-- A run of leaves: no block goes across its ends.
SELECT coalesce(string_agg(leaf_hashes, '' ORDER BY first_leaf), '') FROM sealed_blocks
WHERE first_leaf >= %(start)s AND first_leaf < %(end)s
