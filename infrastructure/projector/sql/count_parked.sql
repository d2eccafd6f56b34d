-- How many events are set aside.
SELECT count(*) FROM parked_events
