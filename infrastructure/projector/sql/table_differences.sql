-- The rows in which a table and the same one folded afresh differ. `comparing.py` fills the braces from the catalogue.
SELECT
    live.{first} IS NOT NULL AS stored, fresh.{first} IS NOT NULL AS expected,
    ARRAY[{key_values}], ARRAY[{changed}]::boolean[], ARRAY[{stored_values}]::text[], ARRAY[{expected_values}]::text[]
FROM {live} AS live FULL JOIN {fresh} AS fresh USING ({key})
WHERE live.{first} IS NULL OR fresh.{first} IS NULL OR ROW({stored}) IS DISTINCT FROM ROW({expected})
ORDER BY {key}
