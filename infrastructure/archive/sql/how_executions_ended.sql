-- Executions of a month by the topic of their last event, and one of each.
SELECT topic, count(*), (array_agg(originator_id))[1]
FROM (
    SELECT DISTINCT ON (originator_id) originator_id, topic FROM events
    WHERE originator_id >= %(first)s AND originator_id < %(end)s
    ORDER BY originator_id, originator_version DESC
) AS last
GROUP BY topic ORDER BY topic
