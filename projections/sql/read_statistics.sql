-- Every durable count.
SELECT metric, label, total FROM statistics
