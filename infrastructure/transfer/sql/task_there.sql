-- Whether a stream is that of a task: every one begins with its creation.
SELECT EXISTS (
    SELECT FROM events
    WHERE originator_id = %(task_id)s AND originator_version = 1 AND starts_with(topic, 'task.')
)
