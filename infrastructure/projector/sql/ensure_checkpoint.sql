-- A row to lock, where there was none; what it says is overwritten in the same transaction.
INSERT INTO projection_checkpoints (name, version, position) VALUES (%(name)s, %(version)s, 0)
ON CONFLICT (name) DO NOTHING
