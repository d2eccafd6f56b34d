DROP FUNCTION append_groups(int[], uuid[], bigint[], text[], bytea[], int[], uuid[], bigint[]);
