-- Where sealing goes on, and whether the log still holds what was sealed last.
SELECT
    block.first_leaf + block.leaves AS size, block.last_position, block.frontier,
    EXISTS (SELECT FROM events WHERE notification_id = block.last_position) AS held
FROM sealed_blocks AS block ORDER BY block.first_leaf DESC LIMIT 1
