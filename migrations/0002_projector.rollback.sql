DROP TABLE IF EXISTS tasks, task_counts, task_results, result_counts;
DROP TABLE IF EXISTS statistics, statistics_minutes, statistics_open;
DROP SCHEMA IF EXISTS rebuilding CASCADE;
DROP TABLE parked_events;
DROP TABLE projection_checkpoints;
