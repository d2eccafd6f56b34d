-- What is sealed of the events up to a position.
SELECT first_leaf, leaves, first_position, last_position, positions, leaf_hashes, frontier FROM sealed_blocks
WHERE last_position <= %(until)s ORDER BY first_leaf
