-- The latest heads, or those before a size.
SELECT tree_size, root_hash, last_position, sealed_at, key_id, signature FROM tree_heads
WHERE tree_size < %(before)s ORDER BY tree_size DESC LIMIT %(limit)s
