-- Where sealing goes on, and whether the log, or an archive of it, still holds what was sealed last.
SELECT
    block.first_leaf + block.leaves AS size, block.last_position, block.frontier,
    EXISTS (SELECT FROM events WHERE notification_id = block.last_position) OR EXISTS (
        SELECT FROM archives
        WHERE state = 'archived' AND block.last_position BETWEEN first_position AND last_position
    ) AS held
FROM sealed_blocks AS block ORDER BY block.first_leaf DESC LIMIT 1
