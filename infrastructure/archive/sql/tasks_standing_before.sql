-- Tasks whose next occurrence is of the month or of an earlier one: it would have to be recorded there.
SELECT count(*), (array_agg(id ORDER BY next_run))[1] FROM task_states
WHERE status IN ('scheduled', 'paused') AND next_run < %(instant)s
