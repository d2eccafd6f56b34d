-- The log sealed in a Merkle tree (RFC 9162): what verify and proofs compare `events` with.
-- An event's leaf index is the number of events before it, for positions have gaps.

CREATE TABLE audit_keys (
    key_id bytea PRIMARY KEY CHECK (octet_length(key_id) = 32),
    public_key text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Leaves as they were sealed. No block goes across a multiple of 4,096 leaves, so whoever needs such a run of them
-- reads whole blocks. `frontier` has the perfect subtrees of the tree that ends with the block.
CREATE TABLE sealed_blocks (
    first_leaf bigint PRIMARY KEY,
    leaves int NOT NULL CHECK (leaves > 0),
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    positions bytea NOT NULL CHECK (octet_length(positions) = 8 * leaves),
    leaf_hashes bytea NOT NULL CHECK (octet_length(leaf_hashes) = 32 * leaves),
    frontier bytea NOT NULL
);

-- Hashes do not get smaller.
ALTER TABLE sealed_blocks ALTER COLUMN leaf_hashes SET STORAGE EXTERNAL, ALTER COLUMN frontier SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX sealed_blocks_first_position ON sealed_blocks (first_position);

-- The perfect subtrees of 4,096 leaves and more: with them a proof reads few rows, however long the log is.
CREATE TABLE tree_nodes (
    level int NOT NULL,
    index bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, index)
);

-- One for each block.
CREATE TABLE tree_heads (
    tree_size bigint PRIMARY KEY,
    root_hash bytea NOT NULL CHECK (octet_length(root_hash) = 32),
    last_position bigint NOT NULL,
    sealed_at timestamptz NOT NULL,
    key_id bytea NOT NULL REFERENCES audit_keys,
    signature bytea NOT NULL
);

CREATE FUNCTION refuse_sealed_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER audit_keys_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_sealed_change();
CREATE TRIGGER sealed_blocks_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sealed_blocks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_sealed_change();
CREATE TRIGGER tree_nodes_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tree_nodes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_sealed_change();
CREATE TRIGGER tree_heads_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tree_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_sealed_change();
