-- All blocks, and heads beside the blocks that they end with; either may be there without the other.
SELECT
    block.first_leaf, block.leaves, block.first_position, block.last_position, block.positions, block.leaf_hashes,
    block.frontier,
    head.tree_size, head.root_hash, head.last_position, head.sealed_at, head.key_id, head.signature
FROM sealed_blocks AS block
FULL JOIN tree_heads AS head ON head.tree_size = block.first_leaf + block.leaves
ORDER BY coalesce(block.first_leaf + block.leaves, head.tree_size), block.first_leaf
