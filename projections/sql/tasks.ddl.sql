-- A task in two rows: what was asked for, which is wide and seldom changes, and its state, which moves with every
-- occurrence and is narrow for that reason: moving a wide row costs twice the CPU and five times the WAL.
CREATE TABLE IF NOT EXISTS task_definitions (
    id uuid PRIMARY KEY,
    namespace text NOT NULL,
    created_at timestamptz NOT NULL,
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
    definition json NOT NULL
);

-- Every place that a task leaves is a dead row: a hundredth of the table, not a fifth, is worth a vacuum.
CREATE TABLE IF NOT EXISTS task_states (
    id uuid PRIMARY KEY,
    namespace text NOT NULL,
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
    redacted_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000);

-- A list is read in the order of an index, which is on one of the two tables: the id, the namespace and the age are
-- that one's, so that a cursor, too, is looked up in the index.
CREATE OR REPLACE VIEW tasks AS
SELECT
    definition.id, definition.namespace, name, trigger_type, trigger_time, cron_expr, every_seconds, timezone, method, url,
    headers, payload, timeout_seconds, retry, status, definition.created_at, updated_at, next_run, fires_at, runs, version,
    position, paused_at, resumed_at, pause_note, redacted_at, definition.definition
FROM task_definitions AS definition JOIN task_states AS state ON state.id = definition.id;

-- The same rows, for those with one status, and for the scheduler.
CREATE OR REPLACE VIEW tasks_by_status AS
SELECT
    state.id, state.namespace, name, trigger_type, trigger_time, cron_expr, every_seconds, timezone, method, url,
    headers, payload, timeout_seconds, retry, status, state.created_at, updated_at, next_run, fires_at, runs, version,
    position, paused_at, resumed_at, pause_note, redacted_at, definition.definition
FROM task_states AS state JOIN task_definitions AS definition ON definition.id = state.id;

COMMENT ON COLUMN tasks.definition IS 'as accepted; headers and payload are copies with U+FFFD for U+0000';
COMMENT ON COLUMN tasks.fires_at IS 'when the call of next_run is to be sent: with its jitter';
COMMENT ON COLUMN tasks.runs IS 'scheduled occurrences that were started since the trigger last changed';
COMMENT ON COLUMN tasks.redacted_at IS 'when its payloads, headers and bodies were erased';
COMMENT ON COLUMN tasks.position IS 'of the last event that changed the row';

-- How many tasks have which status: a list's total and the metrics need it at once, with a million tasks.
CREATE TABLE IF NOT EXISTS task_counts (
    namespace text NOT NULL,
    status text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (namespace, status)
);
