-- Whole numbers only: sums of microseconds do not depend on the order in which they are added up.
CREATE TABLE IF NOT EXISTS statistics (
    metric text NOT NULL,
    label text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (metric, label)
);

CREATE TABLE IF NOT EXISTS statistics_minutes (
    minute timestamptz PRIMARY KEY,
    finished bigint NOT NULL
);

-- When executions were due whose first attempt is not over yet: lateness is known only then. Rows
-- come and go, so it is vacuumed by their number.
CREATE TABLE IF NOT EXISTS statistics_open (
    execution_id uuid PRIMARY KEY,
    due_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
