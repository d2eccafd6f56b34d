-- Nodes that are above no perfect subtree of so many leaves.
SELECT level, index FROM tree_nodes
WHERE level < %(lowest)s OR index < 0 OR (index + 1)::numeric * 2::numeric ^ level > %(size)s
ORDER BY level, index
