SELECT tree_size, root_hash, last_position, sealed_at, key_id, signature FROM tree_heads
WHERE tree_size = %(tree_size)s
