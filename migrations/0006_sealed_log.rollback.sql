DROP TABLE tree_heads;
DROP TABLE tree_nodes;
DROP TABLE sealed_blocks;
DROP TABLE audit_keys;
DROP FUNCTION refuse_sealed_change();
