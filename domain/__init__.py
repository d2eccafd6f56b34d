"""What a scheduled call is and what may happen to it: pure, without I/O, clock or randomness."""
