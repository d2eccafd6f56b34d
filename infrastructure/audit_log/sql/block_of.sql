-- The only block that a position can be in.
SELECT first_leaf, positions FROM sealed_blocks
WHERE first_position <= %(position)s ORDER BY first_position DESC LIMIT 1
