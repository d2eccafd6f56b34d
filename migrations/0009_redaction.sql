-- Erasing what events hold: their states are rewritten by `redact_events`, into such as end with the digest of what was.

-- Whether a state was rewritten, and the SHA-256 of what it was when it was appended, as `original_digest` of
-- domain/redaction.py tells them: the state ends with `,"redacted":{"sha256":"…"}}`. Not STRICT, so as to be inlined.
CREATE FUNCTION is_redacted(state bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT substring(state FROM greatest(octet_length(state) - 89, 1) FOR 23)
            = '\x2c227265646163746564223a7b22736861323536223a22'::bytea
        AND encode(substring(state FROM octet_length(state) - 66 FOR 67), 'escape') ~ '^[0-9a-f]{64}"\}\}$'
$$;

CREATE FUNCTION appended_digest(state bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN is_redacted(state)
        THEN decode(encode(substring(state FROM octet_length(state) - 66 FOR 64), 'escape'), 'hex')
        ELSE sha256(state)
    END
$$;

CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('chronoledger.redacting', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'events are append-only: % is refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- Any session can set what `refuse_event_change` looks at: what it may do then is as little as a redaction may.
CREATE FUNCTION refuse_event_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.originator_id, OLD.originator_version, OLD.topic, OLD.notification_id, OLD.recorded_at)
        IS DISTINCT FROM (NEW.originator_id, NEW.originator_version, NEW.topic, NEW.notification_id, NEW.recorded_at)
    THEN
        RAISE EXCEPTION 'of an event only the state can be redacted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (is_redacted(NEW.state) AND appended_digest(NEW.state) = appended_digest(OLD.state)) IS NOT TRUE THEN
        RAISE EXCEPTION 'a redacted event ends with the digest of what was appended'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER events_keep_their_place
    BEFORE UPDATE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_event_move();

-- Appends one group, as append_groups does, and rewrites the events that it tells of; answers its last position, NULL:
-- it was refused. Who calls has read each event in the version that is `seen` (its xmin): when one of them has become
-- another since, nothing is done.
CREATE FUNCTION redact_events(
    streams uuid[], versions bigint[], topics text[], states bytea[], guard_streams uuid[], guard_versions bigint[],
    positions bigint[], seen bigint[], rewritten bytea[], task uuid
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
    changed bigint;
BEGIN
    SELECT first_position INTO first FROM append_groups(
        array_fill(1, ARRAY[cardinality(streams)]), streams, versions, topics, states,
        array_fill(1, ARRAY[cardinality(guard_streams)]), guard_streams, guard_versions
    );
    IF first IS NULL THEN
        RETURN NULL;
    END IF;

    PERFORM set_config('chronoledger.redacting', 'on', true);
    UPDATE events SET state = change.state
    FROM unnest(positions, seen, rewritten) AS change (position, seen, state)
    WHERE events.notification_id = change.position AND events.xmin::text::bigint = change.seen;
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('chronoledger.redacting', 'off', true);
    IF changed <> cardinality(positions) THEN
        RAISE EXCEPTION '% of % events have become others meanwhile', cardinality(positions) - changed,
            cardinality(positions) USING ERRCODE = 'serialization_failure';
    END IF;

    DELETE FROM task_snapshots WHERE task_id = task;
    RETURN first + cardinality(streams) - 1;
END
$$;
