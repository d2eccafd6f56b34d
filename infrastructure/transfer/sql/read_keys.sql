-- The public keys that heads were signed by; no private one is in the database.
SELECT key_id, public_key, added_at FROM audit_keys
WHERE key_id IN (SELECT key_id FROM tree_heads WHERE last_position <= %(until)s) ORDER BY key_id
