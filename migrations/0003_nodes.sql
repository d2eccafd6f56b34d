-- Who is alive: every scheduler and projector process writes its heartbeat here.

CREATE TABLE nodes (
    node text NOT NULL,
    role text NOT NULL,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    PRIMARY KEY (node, role)
);
