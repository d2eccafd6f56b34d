-- Begin, or begin again.
INSERT INTO projection_checkpoints (name, version, position)
VALUES (%(name)s, %(version)s, %(position)s)
ON CONFLICT (name) DO UPDATE SET
    version = excluded.version, position = excluded.position, updated_at = clock_timestamp()
