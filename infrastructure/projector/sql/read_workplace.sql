-- What an unfinished rebuild says that it builds; nothing when there is none.
SELECT obj_description(to_regnamespace('rebuilding'), 'pg_namespace')
