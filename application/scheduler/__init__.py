"""The scheduler: the index proposes what is due, the log decides who starts it, and it is called on time."""
