"""Numbered SQL, nothing else."""
