-- The subtrees that the largest tree up to a position has.
SELECT level, index, hash FROM tree_nodes
WHERE ((index + 1) << level) <= (SELECT max(tree_size) FROM tree_heads WHERE last_position <= %(until)s)
ORDER BY level, index
