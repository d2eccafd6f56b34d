"""A PostgreSQL of Chronoledger's own: its programs found, its cluster made, its postmaster kept and ended."""
