-- Whether any task is of a namespace: the first one that its stream names, for a payload may name another.
SELECT EXISTS (
    SELECT FROM (
        SELECT substring(state FROM 1 FOR %(beginning)s) AS beginning FROM events
        WHERE originator_version = 1 AND starts_with(topic, 'task.')
    ) AS task
    WHERE position(%(named)s::bytea IN beginning) > 0
        AND position(%(named)s::bytea IN beginning) = position('"namespace":'::bytea IN beginning)
)
