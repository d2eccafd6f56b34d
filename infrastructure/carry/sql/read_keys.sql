-- The public keys that heads were signed by; no private one is in the database.
SELECT key_id, public_key, added_at FROM audit_keys ORDER BY key_id
