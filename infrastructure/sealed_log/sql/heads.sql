-- Heads behind a size, the oldest first.
SELECT tree_size, root_hash, last_position, sealed_at, key_id, signature FROM tree_heads
WHERE tree_size > %(after)s ORDER BY tree_size LIMIT %(limit)s
