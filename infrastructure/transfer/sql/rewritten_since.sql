-- Whether what was recorded behind the end that the log had tells of events up to a position that were rewritten.
SELECT EXISTS (
    SELECT FROM events CROSS JOIN LATERAL jsonb_array_elements(
        CASE topic WHEN 'events.redacted.v1' THEN convert_from(state, 'UTF8')::jsonb #> '{fact,rewritten}' END
    ) AS rewritten (told)
    WHERE notification_id > %(head)s AND topic = 'events.redacted.v1' AND (told ->> 0)::bigint <= %(until)s
)
