"""The log sealed in a Merkle tree: sealing it in the background, and verifying it."""
