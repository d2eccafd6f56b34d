DROP FUNCTION appended_digest(bytea);
DROP FUNCTION is_redacted(bytea);
DROP FUNCTION redact_events(uuid[], bigint[], text[], bytea[], uuid[], bigint[], bigint[], bigint[], bytea[], uuid);
DROP TRIGGER events_keep_their_place ON events;
DROP FUNCTION refuse_event_move();
CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: % is refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END
$$;
