-- The occurrence ledger: a row an occurrence. No foreign key: it costs 3 us a row, and facts cannot be refused.
CREATE TABLE IF NOT EXISTS task_results (
    id uuid PRIMARY KEY,
    task_id uuid NOT NULL,
    namespace text NOT NULL,
    task_name varchar(255) NOT NULL,
    task_version bigint NOT NULL,
    kind varchar(20) NOT NULL,
    due_at timestamptz NOT NULL,
    run_at timestamptz,
    status varchar(20) NOT NULL CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled')),
    reason text,
    success boolean,
    status_code int,
    response_headers jsonb,
    response_body text,
    response_truncated boolean,
    error_message text,
    duration_ms int,
    attempts int NOT NULL,
    attempt_log jsonb NOT NULL,
    retry_at timestamptz,
    node text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL,
    position bigint NOT NULL
);

COMMENT ON COLUMN task_results.position IS 'of the last event about the occurrence';

CREATE INDEX IF NOT EXISTS task_results_due ON task_results (namespace, due_at, id);
CREATE INDEX IF NOT EXISTS task_results_task_due ON task_results (task_id, due_at, id);
CREATE INDEX IF NOT EXISTS task_results_failed ON task_results (namespace, due_at, id) WHERE NOT success;
CREATE INDEX IF NOT EXISTS task_results_running
    ON task_results (coalesce(retry_at, lease_until), id) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS task_results_pending ON task_results (created_at, id) WHERE status = 'pending';

-- pglz costs three times as much as the rest of the write, so bodies get lz4 where the server has it.
DO $$
BEGIN
    ALTER TABLE task_results ALTER COLUMN response_body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value OR syntax_error THEN
    NULL;
END
$$;

-- How many occurrences have which status: a list's total must not count millions of rows.
CREATE TABLE IF NOT EXISTS result_counts (
    namespace text NOT NULL,
    status text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (namespace, status)
);
