-- How far each projection has come, and what it could not apply. The read models' own tables belong to them.

CREATE TABLE projection_checkpoints (
    name text PRIMARY KEY,
    version int NOT NULL,
    position bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- An event parked under a key holds back the later ones of that key, so that a replay finds them in order.
CREATE TABLE parked_events (
    projection text NOT NULL,
    position bigint NOT NULL,
    key uuid NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, position)
);

CREATE INDEX parked_events_key ON parked_events (projection, key);
