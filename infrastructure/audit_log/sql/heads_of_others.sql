-- The ends of the first head and of the last one, if there are heads and none of them names one of these keys.
SELECT min(last_position), max(last_position) FROM tree_heads
HAVING NOT bool_or(key_id = ANY (%(key_ids)s::bytea[]))
