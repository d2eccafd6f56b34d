"""How much later, or earlier, than an instant something may happen that is to happen at it."""

from datetime import timedelta

AHEAD = timedelta(seconds=1)
"""What is due soon is claimed ahead: how far depends on the log."""
OVERDUE = timedelta(seconds=10)
"""Its owner may have done nothing; then it is the turn of the others."""
LATE_RETRY = timedelta(seconds=5)
"""A retry that was planned in time is made in time, though its claim takes a moment."""
