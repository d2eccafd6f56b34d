-- How many there are, whatever their positions.
SELECT count(*) FROM events
