//! Every maximum of the server in one place. What bounds the data itself is in
//! [`concord_core::limits`].

use std::time::Duration;

/// Default largest value.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// Default largest HTTP request body.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Default number of open HTTP connections; more wait in the listen queue.
pub const HTTP_CONNECTIONS_MAX: usize = 10_000;

/// Default time that a client may take to send its request head.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Default time that an operation may take, on any interface.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that a caller may ask an operation to take.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// How often the files of certificates are looked at, by default.
pub const TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The most often that they may be.
pub const TLS_RELOAD_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The shortest heartbeat.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// The longest time without a leader before a node stands for election.
pub const ELECTION_MAX: Duration = Duration::from_secs(60);

/// Time that a client may take for a whole request body.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest request head: the longest key, three bytes each, with room for headers.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 << 10;

/// Requests at once on one HTTP/2 connection.
pub const HTTP2_STREAMS_MAX: u32 = 256;

/// Silence after which an HTTP/2 client is asked whether it is alive.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Pause after a connection could not be accepted.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a change of the members may take: a learner may have to catch up first.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The shortest time that a keep-alive of a lease is waited for.
pub const LEASE_PATIENCE_MIN: Duration = Duration::from_millis(100);

/// The part of a lease's time that its holder does not count on: what clocks may differ by.
pub const LEASE_MARGIN: u32 = 10;

/// The longest name of a lock, an election or another recipe.
pub const RECIPE_NAME_BYTES_MAX: usize = 512;

/// How long others wait for the holder of a lock that is gone, unless it says otherwise.
pub const RECIPE_TTL_DEFAULT: Duration = Duration::from_secs(10);

/// Pause before a recipe tries again what may succeed then.
pub const RECIPE_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// States of a rate limiter's bucket that one attempt is ready for.
pub const RATE_STEPS_MAX: u64 = 100;

/// Milliseconds by which the replicated clock that a rate limiter judges by may be behind: several
/// times what it is while anything can expire.
pub const RATE_CLOCK_LAG_MAX: u64 = 300;

/// How often a node that waits to be ready looks at itself.
pub const READY_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Records on one scan page unless the request says otherwise.
pub const SCAN_PAGE_DEFAULT: usize = 1_000;

/// The shortest pause between scheduled backups.
pub const BACKUP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Bytes of the name of a bucket for backups.
pub const S3_BUCKET_BYTES_MAX: usize = 255;

/// Bytes of what the keys of backups in a bucket begin with.
pub const S3_PREFIX_BYTES_MAX: usize = 512;

/// Bytes of a part of a backup on its way into a bucket. One is sent while the next is made.
pub const S3_PART_BYTES: usize = 16 << 20;

/// Parts of an object, as S3 has it.
pub const S3_PARTS_MAX: usize = 10_000;

/// Bytes of an object that are read first, and ahead of what was asked for, each time twice as many.
pub const S3_READ_BYTES_MIN: u64 = 16 << 10;

/// Bytes that are read ahead at most.
pub const S3_READ_BYTES_MAX: u64 = 4 << 20;

/// How long a bucket may take to accept a connection.
pub const S3_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request to a bucket may take, with a part of a backup in it.
pub const S3_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a request to a bucket is sent again that failed in a way that may pass.
pub const S3_RETRIES_MAX: usize = 4;

/// After which time none is sent again.
pub const S3_RETRY_TIME_MAX: Duration = Duration::from_secs(120);

/// Uploads that an interrupted backup left, of which so many are removed at once.
pub const S3_LEFTOVERS_MAX: usize = 100;

/// Bytes of an answer that lists them.
pub const S3_LEFTOVERS_BYTES_MAX: usize = 4 << 20;

/// Default number of open watches on one node.
pub const WATCHES_MAX: usize = 100_000;

/// Events that a watcher holds at most. Whatever is further behind waits in the history.
pub const WATCH_PAGE_EVENTS: usize = 1_000;

/// Bytes of keys and values after which a watcher's page is closed.
pub const WATCH_PAGE_BYTES: usize = 1 << 20;

/// Pages that are kept for other watchers of the same things, each of [`WATCH_PAGE_BYTES`] at most.
pub const WATCH_PAGES_KEPT: usize = 8;

/// Changes that a watcher looks at before it lets other tasks run.
pub const WATCH_PAGE_VISITS: usize = 4_096;

/// Changes, and watchers found for them, that are routed before others may open a watch.
pub const WATCH_ROUTED_AT_ONCE: usize = 16_384;

/// How often a stream over HTTP shows signs of life, unless the request says otherwise.
pub const WATCH_PROGRESS_DEFAULT: Duration = Duration::from_secs(10);

/// The shortest time between two progress notifications of one watch.
pub const WATCH_PROGRESS_MIN: Duration = Duration::from_millis(100);

/// Default size from which on values are compressed.
pub const COMPRESSION_THRESHOLD_BYTES: usize = 1024;

/// Values of this many bytes together are compressed or unpacked where they are; more on a thread
/// of their own, because it takes long enough to hold up other tasks.
pub const PACK_INLINE_BYTES: usize = 64 << 10;

/// Bytes that the compressed values of one read of many keys may be when unpacked.
pub const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// How long a graceful shutdown waits for requests in flight.
pub const HTTP_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A secret shorter than this protects nothing.
pub const SECRET_BYTES_MIN: usize = 16;

/// The most seeds in one list.
pub const SEEDS_MAX: usize = 16;

/// The largest configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Keys of a request about many that its audit line shows.
pub const AUDIT_KEYS_SHOWN: usize = 16;

/// Bytes of the start or the end of a range that an audit line shows: as long as what follows the longest key.
pub const AUDIT_BOUND_BYTES_MAX: usize = concord_core::limits::KEY_BYTES_MAX + 1;

/// The longest line of an audit log: that many of the longest keys, each byte escaped, with room for the rest.
pub const AUDIT_LINE_BYTES_MAX: u64 = 512 << 10;

/// Default number of audit lines that wait to be written; more are lost, and counted.
pub const AUDIT_QUEUE_LINES: usize = 65_536;

/// What they may take in memory.
pub const AUDIT_QUEUE_BYTES_MAX: usize = 64 << 20;

/// How long audit lines are gathered before they are written together, where nobody waits for them: not so long that they
/// leave the processor's cache meanwhile.
pub const AUDIT_LINGER: Duration = Duration::from_millis(5);

/// Bytes of audit lines that are written at once.
pub const AUDIT_WRITE_BYTES: usize = 1 << 20;

/// How often an audit log is synced that nobody waits for.
pub const AUDIT_SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How often the file that names the end of an audit log is renewed.
pub const AUDIT_HEAD_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after an audit log could not be written.
pub const AUDIT_RETRY: Duration = Duration::from_secs(1);

/// How often old audit files are looked for.
pub const AUDIT_RETENTION_INTERVAL: Duration = Duration::from_secs(3_600);

/// Refused reads, and requests of nobody known, that leave a line each before they are only counted.
pub const AUDIT_REFUSALS_AT_ONCE: u64 = 1_000;

/// How many more of them leave a line each second.
pub const AUDIT_REFUSALS_PER_SEC: u64 = 1;

/// The longest id of a request (`X-Request-Id`) that stands in an audit line.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// How long a query of an audit log waits for the newest lines.
pub const AUDIT_BARRIER_TIMEOUT: Duration = Duration::from_secs(2);

/// Default size of an audit file.
pub const AUDIT_ROTATE_BYTES: u64 = 64 << 20;

/// The smallest and the largest size of an audit file that can be set.
pub const AUDIT_ROTATE_RANGE: std::ops::RangeInclusive<u64> = (64 << 10)..=(4 << 30);

/// Default number of days that audit files are kept.
pub const AUDIT_RETENTION_DAYS: u64 = 90;

/// Default size of all audit files together.
pub const AUDIT_RETENTION_BYTES: u64 = 10 << 30;

/// Audit lines on one page unless the request says otherwise.
pub const AUDIT_PAGE_DEFAULT: usize = 100;

/// The most audit lines on one page.
pub const AUDIT_PAGE_MAX: usize = 1_000;

/// Audit lines that one page looks at.
pub const AUDIT_SCAN_LINES_MAX: usize = 1_000_000;

/// Bytes of audit lines that an export hands on at once.
pub const AUDIT_EXPORT_CHUNK_BYTES: usize = 64 << 10;

/// Places that the check of an audit log names.
pub const AUDIT_FINDINGS_MAX: usize = 100;

/// Spans that wait to be exported; more are dropped, and counted.
pub const TRACE_QUEUE_SPANS: usize = 8_192;

/// Spans that are exported together.
pub const TRACE_EXPORT_SPANS: usize = 512;

/// Bytes of a header that a span takes over.
pub const TRACE_TEXT_BYTES_MAX: usize = 256;

/// Events that wait for the program's function; more are lost, and counted.
pub const TELEMETRY_QUEUE_EVENTS: usize = 8_192;

/// How often a program is told how its node is.
pub const TELEMETRY_STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Callers that a node remembers between two changes of the policy. More than that, and it begins anew.
pub const PRINCIPALS_KEPT_MAX: usize = 16_384;

/// How long it is gathered which tokens were shown, before it is written.
pub const TOKEN_USES_GATHERED: Duration = Duration::from_secs(2);

/// Pause after that could not be written, and how long one attempt may take.
pub const TOKEN_USES_RETRY: Duration = Duration::from_secs(30);

/// Tokens of which one command notes that they were shown.
pub const TOKEN_USES_AT_ONCE: usize = 500;

/// Pause between two attempts to make the first token, while the cluster cannot take it.
pub const BOOTSTRAP_PAUSE: Duration = Duration::from_millis(200);

/// Tenants whose reads are counted on a node before those are forgotten that have not read for a second.
pub const READ_BUCKETS_SWEPT: usize = 1_024;

/// Tenants that metrics name; the rest are one series.
pub const TENANTS_MEASURED: usize = 50;

/// Of the time of one core, the part in which metrics look through the tenants at most: one of so many.
pub const TENANTS_LOOK_PART: u32 = 100;
