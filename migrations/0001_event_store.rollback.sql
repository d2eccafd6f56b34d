DROP TABLE IF EXISTS standstill;
DROP FUNCTION append_events(int[], uuid[], bigint[], text[], bytea[], int[], uuid[], bigint[]);
DROP TABLE events;
DROP FUNCTION refuse_event_change();
DROP TYPE stored_event_uuid;
