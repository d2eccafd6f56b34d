INSERT INTO tree_nodes (level, index, hash)
SELECT * FROM unnest(%(levels)s::int[], %(indexes)s::bigint[], %(hashes)s::bytea[])
