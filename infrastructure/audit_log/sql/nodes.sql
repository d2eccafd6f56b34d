SELECT level, index, hash FROM unnest(%(levels)s::int[], %(indexes)s::bigint[]) AS wanted (level, index)
JOIN tree_nodes USING (level, index)
