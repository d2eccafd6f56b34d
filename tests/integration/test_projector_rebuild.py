"""Rebuilding: the same rows, byte for byte, beside whatever else goes on."""
