-- Heard by those who wait for a write to become visible, when the batch commits.
SELECT pg_notify('projected', %(position)s::text)
