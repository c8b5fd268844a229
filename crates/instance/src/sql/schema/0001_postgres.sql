-- Ids of events are drawn before they are written. The first is drawn here: so "the last that was drawn" is always
-- below the next.
CREATE SEQUENCE event_ids MINVALUE 0 START 0 CACHE 1;
SELECT nextval('event_ids');
ALTER TABLE events ALTER COLUMN id DROP IDENTITY;

-- The newest id that a reader may stand at: every event up to it is visible to the statement that comes next, or will
-- never be. A writer first locks, shared and until its transaction ends, a key that holds the last id drawn so far;
-- then it draws its own, which are higher. Here the last id drawn is read before the locks. So a transaction whose
-- lock is not seen has either ended, and is visible, or draws ids above the one that was read.
-- The key is 0x6361 (the program's), then 48 bits of the id.
CREATE FUNCTION events_horizon() RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    drawn BIGINT;
    oldest BIGINT;
BEGIN
    SELECT last_value INTO drawn FROM event_ids;
    SELECT min(((classid::BIGINT & 65535) << 32) | objid::BIGINT) INTO oldest
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::BIGINT >> 16 = 25441
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(drawn, oldest);
END
$$;
