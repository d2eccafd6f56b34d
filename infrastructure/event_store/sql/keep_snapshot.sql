-- The latest one stays, whoever comes last; one by other rules gives way. None comes back once its task is redacted.
INSERT INTO task_snapshots AS kept (task_id, version, position, fold, kind, state)
SELECT %(task_id)s, %(version)s, %(position)s, %(fold)s, %(kind)s, %(state)s
WHERE NOT EXISTS (SELECT FROM events WHERE originator_id = %(redactions)s AND originator_version = 1)
ON CONFLICT (task_id) DO UPDATE
SET version = excluded.version, position = excluded.position, fold = excluded.fold,
    kind = excluded.kind, state = excluded.state
WHERE kept.version < excluded.version OR kept.fold <> excluded.fold
