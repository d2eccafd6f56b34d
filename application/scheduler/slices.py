"""Long work in slices, between which calls go out whose instant has come."""

# At 50 µs each it is a quarter of a millisecond that a call may be late by them.
SLICE = 5


def gives_way(place: int) -> bool:
    """Whether it is time for others, before the work on what is at `place`, counted from 0."""
    return place > 0 and place % SLICE == 0
