"""Months of executions in files beside the log: how they are written, read, and put back."""
