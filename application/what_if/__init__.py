"""What would have happened, or will, if a task were defined otherwise: by the very rules."""
