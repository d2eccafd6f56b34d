-- Fillfactor 80 leaves room beside a row for the next place of its task, which moves with every occurrence.
CREATE TABLE IF NOT EXISTS tasks (
    id uuid PRIMARY KEY,
    namespace text NOT NULL,
    name varchar(255) NOT NULL,
    trigger_type varchar(20) NOT NULL CHECK (trigger_type IN ('one-off', 'cron', 'interval')),
    trigger_time timestamptz,
    cron_expr varchar(255),
    every_seconds bigint,
    timezone text NOT NULL,
    method varchar(10) NOT NULL,
    url text NOT NULL,
    headers jsonb NOT NULL,
    payload jsonb,
    timeout_seconds double precision NOT NULL,
    retry jsonb NOT NULL,
    status varchar(20) NOT NULL CHECK (status IN ('scheduled', 'paused', 'completed', 'failed', 'cancelled')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    next_run timestamptz,
    fires_at timestamptz,
    runs bigint NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    paused_at timestamptz,
    resumed_at timestamptz,
    pause_note text,
    definition json NOT NULL
) WITH (fillfactor = 80);

COMMENT ON COLUMN tasks.definition IS 'as accepted; headers and payload are copies with U+FFFD for U+0000';
COMMENT ON COLUMN tasks.fires_at IS 'when the call of next_run is to be sent: with its jitter';
COMMENT ON COLUMN tasks.runs IS 'scheduled occurrences that were started since the trigger last changed';
COMMENT ON COLUMN tasks.position IS 'of the last event that changed the row';

CREATE INDEX IF NOT EXISTS tasks_due ON tasks (fires_at, id) WHERE fires_at IS NOT NULL AND status = 'scheduled';
CREATE INDEX IF NOT EXISTS tasks_created ON tasks (namespace, created_at, id);
CREATE INDEX IF NOT EXISTS tasks_status_created ON tasks (namespace, status, created_at, id);

-- How many tasks have which status: a list's total and the metrics need it at once, with a million tasks.
CREATE TABLE IF NOT EXISTS task_counts (
    namespace text NOT NULL,
    status text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (namespace, status)
);
