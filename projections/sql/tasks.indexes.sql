-- For the scheduler (due) and for lists: what is filled in one go is indexed afterwards.
CREATE INDEX IF NOT EXISTS tasks_due ON task_states (fires_at, id) WHERE fires_at IS NOT NULL AND status = 'scheduled';
CREATE INDEX IF NOT EXISTS tasks_status_created ON task_states (namespace, status, created_at, id);
-- Without a status, how many a name or a kind matches is counted from this index, where rows have been vacuumed: they
-- are ten times as wide.
CREATE INDEX IF NOT EXISTS tasks_created ON task_definitions (namespace, created_at, id) INCLUDE (name, trigger_type);
