-- States of tasks with long streams, so that a command need not fold them from the first event on. What is here is
-- derived: it can be emptied at any time. `fold` tells by which rules a state was made: others' are not read.

CREATE TABLE task_snapshots (
    task_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    position bigint NOT NULL,
    fold int NOT NULL,
    kind text NOT NULL,
    state bytea NOT NULL
) WITH (fillfactor = 70);
