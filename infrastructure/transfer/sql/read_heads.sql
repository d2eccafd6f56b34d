-- The signed heads up to a position.
SELECT tree_size, root_hash, last_position, sealed_at, key_id, signature FROM tree_heads
WHERE last_position <= %(until)s ORDER BY tree_size
