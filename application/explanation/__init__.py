"""What happened at an instant of a task, and why: told from the log alone, no read model decides."""
