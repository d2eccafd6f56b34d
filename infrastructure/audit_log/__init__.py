"""The audit log, a Merkle tree of all events: sealing it in the background, and verifying it."""
