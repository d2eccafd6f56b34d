-- Their new definitions follow.
DELETE FROM task_definitions WHERE id = ANY (%(ids)s)
