INSERT INTO sealed_blocks (first_leaf, leaves, first_position, last_position, positions, leaf_hashes, frontier)
VALUES (
    %(first_leaf)s, %(leaves)s, %(first_position)s, %(last_position)s, %(positions)s, %(leaf_hashes)s, %(frontier)s
)
