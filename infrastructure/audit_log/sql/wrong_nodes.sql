-- Which of these subtrees are not stored as they should be, and the blocks' positions that they are above.
SELECT wanted.level, wanted.index,
    (SELECT min(first_position) FROM sealed_blocks
     WHERE first_leaf >= wanted.index << wanted.level) AS first_position,
    (SELECT max(last_position) FROM sealed_blocks
     WHERE first_leaf < (wanted.index + 1) << wanted.level) AS last_position
FROM unnest(%(levels)s::int[], %(indexes)s::bigint[], %(hashes)s::bytea[]) AS wanted (level, index, hash)
LEFT JOIN tree_nodes AS node ON node.level = wanted.level AND node.index = wanted.index
WHERE node.hash IS DISTINCT FROM wanted.hash
ORDER BY wanted.index << wanted.level, wanted.level
