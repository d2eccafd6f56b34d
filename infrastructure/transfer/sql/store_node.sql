INSERT INTO tree_nodes (level, index, hash) VALUES (%(level)s, %(index)s, %(hash)s)
