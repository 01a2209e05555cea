//! The tables, and the statements on them.
//!
//! `head` has one row per log: where it ends, and the transaction that changed it last. `batch` has one row per group, written
//! once. `named` says in which group a blob was stored last under a name; side frames are found by their leaf.

/// The form of the tables that this build reads and writes.
pub(super) const VERSION: i32 = 1;

/// Only one at a time makes them.
pub(super) const MAKE: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(7165064744911798370);
CREATE SCHEMA IF NOT EXISTS actpass;
CREATE TABLE IF NOT EXISTS actpass.form (version integer NOT NULL);
INSERT INTO actpass.form SELECT 1 WHERE NOT EXISTS (SELECT FROM actpass.form);
CREATE TABLE IF NOT EXISTS actpass.head (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    log text NOT NULL UNIQUE,
    size bigint NOT NULL,
    hash bytea NOT NULL,
    groups bigint NOT NULL DEFAULT 0,
    changed xid8 NOT NULL
);
CREATE INDEX IF NOT EXISTS head_changed ON actpass.head (changed);
CREATE TABLE IF NOT EXISTS actpass.batch (
    log bigint NOT NULL,
    first bigint NOT NULL,
    nth bigint NOT NULL,
    leaves_count bigint NOT NULL,
    blobs_count bigint NOT NULL,
    leaves bytea NOT NULL,
    blobs bytea NOT NULL,
    PRIMARY KEY (log, first, nth)
);
CREATE TABLE IF NOT EXISTS actpass.named (
    name bytea PRIMARY KEY,
    log bigint NOT NULL,
    first bigint NOT NULL,
    nth bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS actpass.document (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    bytes bytea NOT NULL
);
ALTER TABLE actpass.batch ALTER leaves SET STORAGE EXTERNAL, ALTER blobs SET STORAGE EXTERNAL;
ALTER TABLE actpass.document ALTER bytes SET STORAGE EXTERNAL;
COMMIT;
";

/// Whether there are tables, and of which form.
pub(super) const IS_MADE: &str = "SELECT to_regclass('actpass.form') IS NOT NULL";
pub(super) const FORM: &str = "SELECT version FROM actpass.form";

/// What the server and our role are set to, before we set anything ourselves.
pub(super) const SETTINGS: &str = "
SELECT current_setting('server_version_num')::integer, current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_commit'), current_setting('data_checksums'),
    current_setting('default_transaction_read_only'), pg_is_in_recovery(),
    (SELECT system_identifier FROM pg_control_system())";

/// Ours for as long as the connection lasts. Whatever somebody sets later, a commit waits for what it waited for at the start.
/// There is an index for all we ask, so a statement is planned once, whatever is asked by it and however many rows there are.
pub(super) const SESSION: &str = "
SET client_min_messages = warning;
SET statement_timeout = '8s';
SET lock_timeout = '2s';
SET idle_in_transaction_session_timeout = '10s';
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
SET search_path = pg_catalog;
SET default_transaction_isolation = 'read committed';
";

/// A commit behind everything that this session can see, so that all of it has reached whatever a commit waits for: what was
/// committed just before a crash may be here and on no standby yet.
pub(super) const SETTLE: &str = "SELECT pg_logical_emit_message(true, 'actpass', 'connected')";

/// A row for each new log, so that an append finds one to lock.
pub(super) const BEGIN_LOGS: &str = "
INSERT INTO actpass.head (log, size, hash, changed)
SELECT log, 0, hash, pg_current_xact_id() FROM unnest($1::text[], $2::bytea[]) AS new (log, hash) ORDER BY log
ON CONFLICT (log) DO NOTHING";

/// A turn: whoever holds the heads appends next. One that says nothing for so long is ended with its connection, so that a ledger
/// that is cut off does not keep others waiting; they wait no longer than that for a lock either.
pub(super) const BEGIN_TURN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '2s'";
pub(super) const TURN: &str =
    "SELECT FROM actpass.head WHERE log = ANY ($1) ORDER BY id FOR UPDATE";
pub(super) const KEEP_TURN: &str = "COMMIT";
pub(super) const END_TURN: &str = "ROLLBACK";

/// One append: locks the heads in one order, moves those that are where they were asked to be, and stores what belongs to these.
pub(super) const APPEND: &str = "
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[],
            $8::bigint[], $9::bigint[])
        AS asked (log, size, hash, new_size, new_hash, leaves, blobs, leaves_count, blobs_count)
), locked AS MATERIALIZED (
    SELECT id, log, size, hash FROM actpass.head WHERE log = ANY ($1) ORDER BY id FOR UPDATE
), moved AS (
    UPDATE actpass.head SET size = asked.new_size, hash = asked.new_hash, groups = head.groups + 1,
        changed = pg_current_xact_id()
    FROM asked JOIN locked ON locked.log = asked.log AND locked.size = asked.size AND locked.hash = asked.hash
    WHERE head.id = locked.id
    RETURNING head.id, head.log, head.groups
), kept AS (
    INSERT INTO actpass.batch (log, first, nth, leaves_count, blobs_count, leaves, blobs)
    SELECT moved.id, asked.size, moved.groups, asked.leaves_count, asked.blobs_count, asked.leaves, asked.blobs
    FROM moved JOIN asked USING (log)
), named AS (
    INSERT INTO actpass.named (name, log, first, nth)
    SELECT DISTINCT ON (new.name) new.name, moved.id, asked.size, moved.groups
    FROM unnest($10::bytea[], $11::text[]) WITH ORDINALITY AS new (name, log, nth)
        JOIN moved USING (log) JOIN asked USING (log)
    ORDER BY new.name, new.nth DESC
    ON CONFLICT (name) DO UPDATE SET log = excluded.log, first = excluded.first, nth = excluded.nth
)
SELECT locked.log, locked.size, locked.hash, moved.id IS NOT NULL FROM locked LEFT JOIN moved USING (id)";

/// The same for one log, with nothing to match and nothing kept between: half of the server's work. Where its head is elsewhere, no
/// row comes back, and [`APPEND`] says where.
pub(super) const APPEND_ONE: &str = "
WITH moved AS (
    UPDATE actpass.head SET size = $4, hash = $5, groups = groups + 1, changed = pg_current_xact_id()
    WHERE log = $1 AND size = $2 AND hash = $3
    RETURNING id, groups
), kept AS (
    INSERT INTO actpass.batch (log, first, nth, leaves_count, blobs_count, leaves, blobs)
    SELECT id, $2, groups, $8, $9, $6, $7 FROM moved
), named AS (
    INSERT INTO actpass.named (name, log, first, nth)
    SELECT new.name, moved.id, $2, moved.groups
    FROM moved, (SELECT DISTINCT unnest($10::bytea[]) AS name) new
    ON CONFLICT (name) DO UPDATE SET log = excluded.log, first = excluded.first, nth = excluded.nth
)
SELECT id FROM moved";

/// Heads changed by transactions that the last asking may not have seen: a change committed since has an id of at least the
/// oldest one under way then, in whichever order they committed.
pub(super) const MOVED: &str = "
SELECT asked.xmin::text, asked.recovering, head.log, head.size, head.hash
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin, pg_is_in_recovery() AS recovering) asked
    LEFT JOIN actpass.head ON head.changed >= $1::text::xid8";

pub(super) const HEADS: &str = "SELECT id, log, size, hash FROM actpass.head ORDER BY id";

/// What one piece of an answer has at most: so many groups, or so many bytes and one group.
pub(super) const PIECE_GROUPS: usize = 512;
pub(super) const PIECE_BYTES: usize = 8 << 20;

/// The next groups of all logs: 512 of them, or 8 MiB and one.
pub(super) const GROUPS: &str = "
SELECT log, first, nth, leaves_count, blobs_count, leaves, blobs FROM (
    SELECT *, sum(octet_length(leaves) + octet_length(blobs)) OVER (ORDER BY log, first, nth) AS bytes FROM (
        SELECT * FROM actpass.batch WHERE (log, first, nth) > ($1, $2, $3) ORDER BY log, first, nth LIMIT 512
    ) next
) piece
WHERE bytes - octet_length(leaves) - octet_length(blobs) < 8388608
ORDER BY log, first, nth";

/// The next groups of one log from that leaf on, as many.
pub(super) const TAIL: &str = "
SELECT log, first, nth, leaves_count, blobs_count, leaves, blobs FROM (
    SELECT *, sum(octet_length(leaves) + octet_length(blobs)) OVER (ORDER BY first, nth) AS bytes FROM (
        SELECT * FROM actpass.batch
        WHERE log = (SELECT id FROM actpass.head WHERE log = $1)
            AND first >= (SELECT coalesce(max(b.first), 0) FROM actpass.batch b
                WHERE b.log = (SELECT id FROM actpass.head WHERE log = $1) AND b.first <= $2)
            AND (first, nth) > ($3, $4)
        ORDER BY first, nth LIMIT 512
    ) next
) piece
WHERE bytes - octet_length(leaves) - octet_length(blobs) < 8388608
ORDER BY first, nth";

/// What one piece of leaves alone has at most: so many bytes, or one group; and so many groups.
pub(super) const LEAVES_BYTES: usize = 1 << 20;

/// The next leaves of one log, from the group on that holds that one: 512 groups, or 1 MiB and one. Nothing of what is stored beside them.
pub(super) const LEAVES: &str = "
SELECT log, first, nth, leaves_count, 0::bigint, leaves, ''::bytea FROM (
    SELECT *, sum(octet_length(leaves)) OVER (ORDER BY first, nth) AS bytes FROM (
        SELECT log, first, nth, leaves_count, leaves FROM actpass.batch
        WHERE log = (SELECT id FROM actpass.head WHERE log = $1)
            AND first >= (SELECT coalesce(max(b.first), 0) FROM actpass.batch b
                WHERE b.log = (SELECT id FROM actpass.head WHERE log = $1) AND b.first <= $2)
        ORDER BY first, nth LIMIT 512
    ) next
) piece
WHERE bytes - octet_length(leaves) < 1048576
ORDER BY first, nth";

/// The group that holds a name.
pub(super) const NAMED: &str = "
SELECT head.log, batch.first, batch.blobs_count, batch.blobs
FROM actpass.named JOIN actpass.batch USING (log, first, nth) JOIN actpass.head ON head.id = named.log
WHERE named.name = $1";

/// The group that holds a leaf.
pub(super) const HOLDS: &str = "
SELECT head.log, batch.first, batch.blobs_count, batch.blobs
FROM actpass.head JOIN actpass.batch ON batch.log = head.id AND batch.first <= $2
WHERE head.log = $1 ORDER BY batch.first DESC, batch.nth DESC LIMIT 1";
