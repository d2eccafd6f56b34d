-- By the clock that events are recorded by.
SELECT clock_timestamp()
