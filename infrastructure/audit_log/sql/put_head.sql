INSERT INTO tree_heads (tree_size, root_hash, last_position, sealed_at, key_id, signature)
VALUES (%(tree_size)s, %(root_hash)s, %(last_position)s, %(sealed_at)s, %(key_id)s, %(signature)s)
