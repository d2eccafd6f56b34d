-- Remember when an execution was due until its first attempt is over.
COPY statistics_open (execution_id, due_at) FROM STDIN (FORMAT BINARY)
