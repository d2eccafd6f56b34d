-- Read models of this release or of an earlier one, in which `tasks` and `task_results` were tables; and whatever
-- others have built on them.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT relname AS name, CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
            AND relname IN ('tasks', 'tasks_by_status', 'task_definitions', 'task_states', 'task_counts',
                'task_results', 'open_results', 'closed_results', 'result_counts',
                'statistics', 'statistics_minutes', 'statistics_open')
        ORDER BY relkind DESC
    LOOP
        EXECUTE format('DROP %s IF EXISTS %I.%I CASCADE', found.kind, current_schema(), found.name);
    END LOOP;
END
$$;
DROP SCHEMA IF EXISTS rebuilding CASCADE;
DROP SCHEMA IF EXISTS checking CASCADE;
DROP TABLE parked_events;
DROP TABLE projection_checkpoints;
