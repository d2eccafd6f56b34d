SELECT key_id, public_key FROM audit_keys ORDER BY added_at
