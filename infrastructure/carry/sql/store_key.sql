INSERT INTO audit_keys (key_id, public_key, added_at) VALUES (%(key_id)s, %(public_key)s, %(added_at)s)
