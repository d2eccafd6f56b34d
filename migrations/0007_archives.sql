-- Months of executions that have left the log for a file, and the ways out of it and back.

-- The least id that an execution which is due on a day may have, as `first_execution_due_at` of domain/identity.py
-- tells it: a marker bit, and the day's beginning in 47 bits of milliseconds.
CREATE FUNCTION first_execution_of(day date) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT rpad(to_hex(
        (1::bigint << 47) | (((day - DATE '1970-01-01')::bigint * 86400000) & ((1::bigint << 47) - 1))
    ), 32, '0')::uuid
$$;

-- A row a month that was ever archived. `archived`: its events are in the file alone. `restored`: they are in `events`
-- again, and the file is a copy. Streams are those from first_stream on and before end_stream.
CREATE TABLE archives (
    month date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    name text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    manifest_sha256 text NOT NULL,
    events bigint NOT NULL,
    executions bigint NOT NULL,
    first_stream uuid NOT NULL CHECK (first_stream = first_execution_of(month)),
    end_stream uuid NOT NULL CHECK (end_stream = first_execution_of((month + INTERVAL '1 month')::date)),
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('archived', 'restored')),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the catalogue forgets, or says wrongly, is lost: while a month is archived its file stays what it is.
CREATE FUNCTION refuse_archive_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'restored'
            AND (OLD.month, OLD.first_stream, OLD.end_stream) = (NEW.month, NEW.first_stream, NEW.end_stream)
            OR to_jsonb(OLD) - 'state' - 'changed_at' = to_jsonb(NEW) - 'state' - 'changed_at'
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'what was archived stays in the catalogue: % is refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', HINT = 'Months come back by `chronoledger archive restore`.';
END
$$;

CREATE TRIGGER archives_keep_their_file BEFORE UPDATE ON archives
    FOR EACH ROW EXECUTE FUNCTION refuse_archive_loss();
CREATE TRIGGER archives_stay BEFORE DELETE OR TRUNCATE ON archives
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_archive_loss();

-- What is removed must lie in a month that is archived: the transaction that catalogues the file removes its events.
CREATE FUNCTION refuse_event_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM removed WHERE NOT EXISTS (
            SELECT FROM archives AS archive
            WHERE archive.state = 'archived'
                AND removed.originator_id >= archive.first_stream AND removed.originator_id < archive.end_stream
        )
    ) THEN
        RAISE EXCEPTION 'events are append-only: % is refused', TG_OP USING ERRCODE = 'integrity_constraint_violation',
            HINT = 'Executions of past months leave it by `chronoledger archive`.';
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER events_are_append_only ON events;
CREATE TRIGGER events_are_append_only
    BEFORE UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();
CREATE TRIGGER events_leave_for_archives
    AFTER DELETE ON events REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_loss();

-- As before, and a stream of an archived month, whose head is not here to be looked at, is refused as one that has
-- moved on. Where nothing is archived, or all of it is older than what is appended, one look a call tells.
CREATE OR REPLACE FUNCTION append_groups(
    event_groups int[], streams uuid[], versions bigint[], topics text[], states bytea[],
    guard_groups int[], guard_streams uuid[], guard_versions bigint[]
) RETURNS TABLE (refused int[], first_position bigint, recorded timestamptz)
-- Each call would be planned for its own arrays otherwise, which costs as much as appending ten groups.
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    last_position bigint;
    appended bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'events are appended in READ COMMITTED only, not in %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state',
                HINT = 'SET default_transaction_isolation TO ''read committed'' on this connection.';
    END IF;

    PERFORM pg_advisory_xact_lock(hashtextextended('chronoledger.events', 0));
    recorded := clock_timestamp();

    SELECT coalesce(array_agg(DISTINCT probe.in_group), '{}') INTO refused
    FROM (
        SELECT
            event.in_group, event.stream,
            CASE max(event.version) - min(event.version) + 1
                WHEN count(*) THEN min(event.version) - 1 ELSE -1
            END AS expected
        FROM unnest(event_groups, streams, versions) AS event (in_group, stream, version)
        GROUP BY event.in_group, event.stream
        UNION ALL
        SELECT * FROM unnest(guard_groups, guard_streams, guard_versions)
    ) AS probe
    LEFT JOIN LATERAL (
        SELECT head.originator_version AS version FROM events AS head
        WHERE head.originator_id = probe.stream
        ORDER BY head.originator_version DESC LIMIT 1
    ) AS head ON true
    WHERE coalesce(head.version, 0) <> probe.expected
        OR head.version IS NULL AND probe.stream < (
            SELECT archive.end_stream FROM archives AS archive
            WHERE archive.state = 'archived' ORDER BY archive.end_stream DESC LIMIT 1
        ) AND EXISTS (
            SELECT FROM archives AS archive
            WHERE archive.state = 'archived'
                AND probe.stream >= archive.first_stream AND probe.stream < archive.end_stream
        );

    WITH inserted AS (
        INSERT INTO events (originator_id, originator_version, topic, state, recorded_at)
        SELECT event.stream, event.version, event.topic, event.state, recorded
        FROM unnest(event_groups, streams, versions, topics, states) WITH ORDINALITY
            AS event (in_group, stream, version, topic, state, place)
        WHERE event.in_group <> ALL (refused)
        ORDER BY event.place
        RETURNING notification_id
    )
    SELECT min(notification_id), max(notification_id), count(*)
    INTO first_position, last_position, appended
    FROM inserted;

    IF last_position - first_position + 1 <> appended THEN
        RAISE EXCEPTION 'the positions % to % of % events have gaps: somebody else uses the sequence of events',
            first_position, last_position, appended USING ERRCODE = 'serialization_failure';
    END IF;

    IF last_position IS NULL THEN  -- all were refused
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM pg_notify('events', last_position::text);
    IF NOT topics <@ ARRAY[
        'execution.started.v1', 'execution.succeeded.v1', 'execution.failed.v1', 'execution.queued.v1',
        'execution.attempt_started.v1', 'execution.attempt_failed.v1', 'execution.taken_over.v1',
        'execution.skipped.v1', 'task.completed.v1', 'task.failures_counted.v1'
    ] THEN
        PERFORM pg_notify('commands', '');
    END IF;
    RETURN NEXT;
END
$$;

-- Processes of earlier releases append by this one: the same promises, told by the group.
CREATE OR REPLACE FUNCTION append_events(
    event_groups int[], streams uuid[], versions bigint[], topics text[], states bytea[],
    guard_groups int[], guard_streams uuid[], guard_versions bigint[]
) RETURNS TABLE (accepted_group int, last_position bigint) LANGUAGE sql AS $$
    SELECT placed.in_group, max(placed.position)
    FROM append_groups(
        event_groups, streams, versions, topics, states, guard_groups, guard_streams, guard_versions
    ) AS done
    CROSS JOIN LATERAL (
        SELECT event.in_group, done.first_position - 1 + row_number() OVER (ORDER BY event.place) AS position
        FROM unnest(event_groups) WITH ORDINALITY AS event (in_group, place)
        WHERE event.in_group <> ALL (done.refused)
    ) AS placed
    GROUP BY placed.in_group
$$;
