-- For lists: what is filled in one go is indexed afterwards. Open rows are too few to need any.
CREATE INDEX IF NOT EXISTS task_results_due ON closed_results (namespace, due_at, id);
CREATE INDEX IF NOT EXISTS task_results_task_due ON closed_results (task_id, due_at, id);
CREATE INDEX IF NOT EXISTS task_results_failed ON closed_results (namespace, due_at, id) WHERE NOT success;
