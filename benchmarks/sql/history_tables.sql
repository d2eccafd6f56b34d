-- The tasks that the history is of, numbered; and room for a chunk of it.
CREATE TEMP TABLE history_tasks AS
SELECT row_number() OVER (ORDER BY id) - 1 AS number, id FROM tasks WHERE url = %(url)s;
CREATE UNIQUE INDEX history_tasks_number ON history_tasks (number);
ANALYZE history_tasks;
CREATE TEMP TABLE history_chunk (
    number bigint NOT NULL, id uuid NOT NULL, task_id uuid NOT NULL, due_at timestamptz NOT NULL, due_text text NOT NULL
)
