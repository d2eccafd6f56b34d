DROP TABLE task_snapshots;
