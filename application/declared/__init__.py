"""Tasks as a file declares them: what is there, what has to change, and changing it."""
