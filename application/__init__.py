"""What the service does and what it needs for it: commands, the scheduler, and the ports."""
