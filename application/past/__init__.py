"""The state as of an earlier place in the log: what it is asked for, and how far it reaches."""
