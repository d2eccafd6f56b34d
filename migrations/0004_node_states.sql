-- What a scheduler says of itself with each beat; nothing for projectors.

ALTER TABLE nodes
    ADD COLUMN claims boolean NOT NULL DEFAULT false,
    ADD COLUMN clock_right boolean NOT NULL DEFAULT true,
    ADD COLUMN clock_offset_ms bigint,
    ADD COLUMN share double precision,
    ADD COLUMN in_flight int,
    ADD COLUMN entries int,
    ADD COLUMN position bigint;
