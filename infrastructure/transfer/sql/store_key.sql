-- A service that was once started here has put its own key there, which may be the same.
INSERT INTO audit_keys (key_id, public_key, added_at) VALUES (%(key_id)s, %(public_key)s, %(added_at)s)
ON CONFLICT DO NOTHING
