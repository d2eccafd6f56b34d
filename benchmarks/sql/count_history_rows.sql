-- What the projector would have counted.
INSERT INTO result_counts AS counted (namespace, status, total) VALUES ('default', 'succeeded', %(rows)s)
ON CONFLICT (namespace, status) DO UPDATE SET total = counted.total + excluded.total
