//! Every maximum of the core in one place. Checked at the edge, asserted inside.
//!
//! A few are only defaults: what an operator may change *and* decides in apply lives in
//! the replicated [`crate::Settings`], so that all replicas judge alike.

/// The longest key.
pub const KEY_BYTES_MAX: usize = 1024;

/// Default of [`crate::Settings::value_bytes_max`].
pub const VALUE_BYTES_MAX_DEFAULT: u64 = 16 << 20;

/// The longest value any setting can allow: what one log entry can carry.
pub const VALUE_BYTES_MAX: u64 = 64 << 20;

/// The longest encoded request.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Items of one put, delete or touch of many.
pub const BATCH_ITEMS_MAX: usize = 500;

/// Operations in one branch of a transaction.
pub const TXN_OPERATIONS_MAX: usize = 128;

/// Compares of one transaction.
pub const TXN_COMPARES_MAX: usize = 128;

/// Transactions within each other, the outermost included.
pub const TXN_DEPTH_MAX: usize = 4;

/// Compares and operations of a transaction and all those within it.
pub const TXN_PARTS_MAX: usize = 4_096;

/// Keys that the ranges of a transaction may look at, all together.
pub const TXN_KEYS_MAX: usize = 10_000;

/// Records on which a transaction may evaluate expressions, all together.
pub const TXN_EVALUATIONS_MAX: usize = 128;

/// Bytes of keys and values that a transaction may answer with.
pub const TXN_REPLY_BYTES_MAX: usize = 16 << 20;

/// Leases at once.
pub const LEASES_MAX: usize = 1_000_000;

/// Keys that can hang on one lease: all of them go in one batch.
pub const LEASE_KEYS_MAX: u64 = 10_000;

/// The greatest id of a lease: a positive signed number, as clients of etcd expect.
pub const LEASE_ID_MAX: u64 = u64::MAX / 2;

/// The longest idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Idempotency keys remembered at once. The oldest makes room.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;

/// Bytes of idempotency keys and of the replies remembered under them. The oldest makes room.
pub const IDEMPOTENCY_BYTES_MAX: u64 = 64 << 20;

/// How long an idempotency key is remembered, by the replicated clock: a day.
pub const IDEMPOTENCY_KEEP_MS: u64 = 24 * 3_600_000;

/// Idempotency keys that are forgotten for their age in one batch.
pub const IDEMPOTENCY_FORGOTTEN_PER_BATCH: usize = 64;

/// The longest time to live: a hundred years.
pub const TTL_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

/// Levels of arrays and objects in a document, the outermost included.
pub const DOCUMENT_DEPTH_MAX: usize = 128;

/// The longest text of an expression.
pub const EXPRESSION_TEXT_BYTES_MAX: usize = 4 << 10;

/// The longest encoded expression: more than any text within [`EXPRESSION_TEXT_BYTES_MAX`] takes.
pub const EXPRESSION_BYTES_MAX: usize = 16 << 10;

/// Levels of an expression: a constant or a variable alone is one.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

/// Steps that one evaluation of an expression may take: one for each part that is evaluated, each
/// item of a document that is looked at, and each 64 bytes that are read or compared.
pub const EXPRESSION_STEPS_MAX: u64 = 1 << 20;

/// Bytes of strings that one evaluation of an expression may put together.
pub const EXPRESSION_CONCAT_BYTES_MAX: usize = 64 << 10;

/// Tests of keys in one filter.
pub const FILTER_TESTS_MAX: usize = 16;

/// Instructions of a pattern.
pub const PATTERN_INSTRUCTIONS_MAX: usize = 4_096;

/// Ranges of characters in a pattern, all classes together.
pub const PATTERN_RANGES_MAX: usize = 16_384;

/// Keys that a delete by filter removes.
pub const DELETE_WHERE_KEYS_MAX: usize = 10_000;

/// Steps that a delete by filter may take: as [`EXPRESSION_STEPS_MAX`], those of patterns, and 16 for
/// each record that is looked at.
pub const DELETE_WHERE_STEPS_MAX: u64 = 1 << 24;

/// Parts of indexes that a plan chooses from.
pub const PLAN_ACCESSES_MAX: usize = 64;

/// Parts of an index that one access has: of more, all that lies between is looked at.
pub const PLAN_SPANS_MAX: usize = 256;

/// Records up to which a plan counts what a range holds.
pub const PLAN_COUNT_MAX: usize = 256;

/// Indexes of a store.
pub const INDEXES_MAX: usize = 64;

/// The longest name of an index.
pub const INDEX_NAME_BYTES_MAX: usize = 255;

/// Steps of an index's path.
pub const INDEX_PATH_STEPS_MAX: usize = 32;

/// Bytes by which an index knows a string; longer ones that begin alike are one value to it.
pub const INDEX_VALUE_BYTES_MAX: usize = 512;

/// Values by which an index knows a record: the smallest, if it has more.
pub const INDEX_ENTRIES_PER_RECORD_MAX: usize = 1_000;

/// Keys that are looked at in one batch to fill indexes.
pub const INDEX_FILL_KEYS_PER_BATCH: usize = 1_000;

/// Bytes of records that are looked at in one batch to fill indexes, to within one record.
pub const INDEX_FILL_BYTES_PER_BATCH: usize = 4 << 20;

/// Changes that a lookup at an older revision steps back over.
pub const INDEX_PAST_CHANGES_MAX: usize = 100_000;

/// Durable subscriptions of a store.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// The longest name of a subscription.
pub const SUBSCRIPTION_NAME_BYTES_MAX: usize = 255;

/// The longest encoded filter of a subscription: a pattern, and an expression of the longest kind.
pub const SUBSCRIPTION_FILTER_BYTES_MAX: usize = 32 << 10;

/// The longest key of a record of the policy.
pub const POLICY_KEY_BYTES_MAX: usize = 256;

/// The largest record of the policy: a role with as many ACLs as it may have, of the longest patterns.
pub const POLICY_RECORD_BYTES_MAX: usize = 2 << 20;

/// Edits of one change of the policy.
pub const POLICY_EDITS_MAX: usize = 1_000;

/// Bytes of keys and records of one change of the policy.
pub const POLICY_EDIT_BYTES_MAX: usize = 8 << 20;

/// Records of the policy.
pub const POLICY_RECORDS_MAX: usize = 1_000_000;

/// Bytes of keys and records of the policy.
pub const POLICY_BYTES_MAX: u64 = 256 << 20;

/// Namespaces with a quota, or being emptied.
pub const NAMESPACES_MAX: usize = 200_000;

/// Keys of a namespace that are deleted in one batch while it is being emptied.
pub const NAMESPACE_KEYS_EMPTIED_PER_BATCH: usize = 1_000;

/// Bytes of one piece of a restore.
pub const RESTORE_PIECE_BYTES_MAX: usize = 4 << 20;

/// A restore of which nothing was heard for this long, by the replicated clock, is forgotten.
pub const RESTORE_IDLE_MS: u64 = 60_000;

/// Keys whose index entries one step of a restore makes.
pub const RESTORE_INDEX_KEYS_PER_STEP: usize = 4_096;

/// Bytes of records whose index entries one step of a restore makes, to within one record.
pub const RESTORE_INDEX_BYTES_PER_STEP: usize = 16 << 20;

/// The longest id of a principal.
pub const PRINCIPAL_ID_BYTES_MAX: usize = 16;

/// Records on one scan page.
pub const SCAN_PAGE_RECORDS_MAX: usize = 10_000;

/// A scan page is closed when its keys and values reach this many bytes.
pub const SCAN_PAGE_BYTES: usize = 16 << 20;

/// Keys a scan page looks at. A page of the past may have to step over many keys that did
/// not exist then; it ends here, with a position to go on from.
pub const SCAN_PAGE_VISITS_MAX: usize = 1_000_000;

/// Keys that a page of a filtered read passes over because the reader may not see them. More than that, and the
/// page ends with where to go on.
pub const HIDDEN_KEYS_MAX: usize = 100_000;

/// Versions on one page of a key's history. It also ends at [`SCAN_PAGE_BYTES`].
pub const HISTORY_PAGE_MAX: usize = 10_000;

/// Keys and leases, with the keys on them, that end in one batch; the replicated clock stops
/// short of the rest. The last lease may exceed it by [`LEASE_KEYS_MAX`].
pub const EXPIRIES_PER_BATCH: usize = 10_000;

/// Changes that compaction removes in one batch.
pub const COMPACTIONS_PER_BATCH: usize = 4_096;

/// Default of [`crate::Compaction::keep_ms`]: one hour.
pub const COMPACTION_KEEP_MS_DEFAULT: u64 = 3_600_000;

/// Default of [`crate::Compaction::keep_revisions`].
pub const COMPACTION_KEEP_REVISIONS_DEFAULT: u64 = 100_000;

/// Default of [`crate::Compaction::keep_bytes`].
pub const COMPACTION_KEEP_BYTES_DEFAULT: u64 = 256 << 20;

/// Points of time whose revision is kept, to compact by age: its resolution.
pub const COMPACTION_MARKS: usize = 64;

/// Such points kept while the period changes: a longer one keeps those of the shorter.
pub const COMPACTION_MARKS_MAX: usize = 4 * COMPACTION_MARKS;

/// Sessions remembered at once. The one idle for longest makes room.
pub const SESSIONS_MAX: usize = 10_000;

/// A session that has sent nothing for this long, by the replicated clock, is forgotten.
pub const SESSION_IDLE_MS: u64 = 3_600_000;

/// Idle sessions that are forgotten in one batch.
pub const SESSIONS_FORGOTTEN_PER_BATCH: usize = 16;

/// A block of remembered replies is closed when it reaches this many bytes.
pub const SESSION_BLOCK_BYTES: u64 = 1 << 20;

/// Bytes of replies of one session that are kept for its retries.
pub const SESSION_REPLY_BYTES_MAX: u64 = 8 << 20;

/// Bytes of replies of all sessions together.
pub const SESSIONS_REPLY_BYTES_MAX: u64 = 128 << 20;

/// A snapshot chunk is closed when it reaches this many bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// A proposer keeps at most this many requests of its session unanswered: sequence
/// numbers in use span at most this window above `acked_below`.
pub const SESSION_WINDOW: u64 = 16_384;
