-- The occurrence ledger: a row an occurrence. No foreign key: it costs 3 us a row, and facts cannot be refused.
-- What is over is written once, and never again but for rare exceptions; what is not over is few rows that come and
-- go. Kept apart, neither costs the other its indexes: as an update of one table, an outcome costs three times as much.
CREATE TABLE IF NOT EXISTS closed_results (
    id uuid PRIMARY KEY,
    task_id uuid NOT NULL,
    namespace text NOT NULL,
    task_name varchar(255) NOT NULL,
    task_version bigint NOT NULL,
    kind varchar(20) NOT NULL,
    due_at timestamptz NOT NULL,
    run_at timestamptz,
    status varchar(20) NOT NULL CHECK (status IN ('succeeded', 'failed', 'skipped', 'cancelled')),
    reason text,
    success boolean,
    status_code int,
    response_headers json,
    response_body text,
    response_truncated boolean,
    error_message text,
    duration_ms int,
    attempts int NOT NULL,
    attempt_log json NOT NULL,
    node text,
    created_at timestamptz NOT NULL,
    position bigint NOT NULL
);

-- Most rows are deleted within the second, those of retries, queues and requests when their time has come: it is
-- vacuumed by number, however small it is.
CREATE TABLE IF NOT EXISTS open_results (
    id uuid PRIMARY KEY,
    task_id uuid NOT NULL,
    namespace text NOT NULL,
    task_name varchar(255) NOT NULL,
    task_version bigint NOT NULL,
    kind varchar(20) NOT NULL,
    due_at timestamptz NOT NULL,
    run_at timestamptz,
    status varchar(20) NOT NULL CHECK (status IN ('pending', 'running')),
    reason text,
    status_code int,
    response_headers json,
    response_body text,
    response_truncated boolean,
    error_message text,
    duration_ms int,
    attempts int NOT NULL,
    attempt_log json NOT NULL,
    retry_at timestamptz,
    node text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL,
    position bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- pglz costs three times as much as the rest of the write, so bodies get lz4 where the server has it.
DO $$
BEGIN
    ALTER TABLE closed_results ALTER COLUMN response_body SET COMPRESSION lz4;
    ALTER TABLE open_results ALTER COLUMN response_body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value OR syntax_error THEN
    NULL;
END
$$;

-- The checks of `status` let the planner leave out the table that a filter excludes.
CREATE OR REPLACE VIEW task_results AS
SELECT
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, success, status_code,
    response_headers, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log,
    NULL::timestamptz AS retry_at, node, NULL::timestamptz AS lease_until, created_at, position
FROM closed_results
UNION ALL
SELECT
    id, task_id, namespace, task_name, task_version, kind, due_at, run_at, status, reason, NULL::boolean, status_code,
    response_headers, response_body, response_truncated, error_message, duration_ms, attempts, attempt_log,
    retry_at, node, lease_until, created_at, position
FROM open_results;

COMMENT ON COLUMN task_results.position IS 'of the last event about the occurrence';

-- How many occurrences have which status: a list's total must not count millions of rows.
CREATE TABLE IF NOT EXISTS result_counts (
    namespace text NOT NULL,
    status text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (namespace, status)
);
