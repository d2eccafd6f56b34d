-- Until the transaction ends, a lock that is not to be had in time is an error.
SELECT set_config('lock_timeout', %(milliseconds)s::text, true)
