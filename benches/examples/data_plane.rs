//! What requests about many keys cost beside single writes, and what the data plane costs
//! those who do not use it. All ratios are of one run, in turns, so that other work on the
//! machine meets both sides:
//!
//! - one caller, one node in this process, fsync on: a put, a transaction of 10 puts, a put of 500;
//! - the same caller, reading: a key, a lookup of one value in an index, a scan of 10,000 keys by prefix;
//! - the state machine alone, in processor time: an overwrite in a store of plain records, and in one that also
//!   holds leases with keys, keys with a time to live, and an index of other keys.
//!
//! `cargo run --release -p concord-benches --example data_plane`. Linux only.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use concord_benches::fixture::{BATCH, Log, loaded};
use concord_benches::load::cpu_seconds;
use concord_core::index::{Extractor, IndexDefinition, IndexName, PathStep};
use concord_core::{Command, Document, Key, LeaseId, Lifetime, Machine, Millis, Store, Value};
use concord_server::txn::key;
use concord_server::{Concord, Config};

const ROUNDS: usize = 9;
const WRITES_A_ROUND: usize = 400;
const TXN_WRITES: usize = 10;
const BULK_ITEMS: usize = 500;
const BULKS_A_ROUND: usize = 40;
const READ_KEYS: usize = 10_000;
const READS_A_ROUND: usize = 20_000;
const KEYS: usize = 100_000;
const ENTRIES_A_ROUND: usize = 200;
/// Leases, each with a key, and as many keys with a time to live, and indexed keys.
const OTHERS: usize = 10_000;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("concord-bench-").tempdir()?;
    let db = Concord::open(Config::at(directory.path())).await?;
    requests(&db).await?;
    reads(&db).await?;
    db.shutdown().await?;
    overwrites()
}

/// Medians of a write of each kind.
async fn requests(db: &Concord) -> Result<(), Failure> {
    let value = vec![7_u8; 100];
    let (mut single, mut txn, mut bulk) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for number in 0..WRITES_A_ROUND {
            let began = Instant::now();
            db.put(format!("single:{number:08}"), value.as_slice()).await?;
            single.push(began.elapsed());
        }
        for number in 0..WRITES_A_ROUND {
            let mut request = db.txn();
            for step in 0..TXN_WRITES {
                request = request.then(key(format!("txn:{number:08}:{step}")).put(value.as_slice()));
            }
            let began = Instant::now();
            let done = request.await?;
            txn.push(began.elapsed());
            assert!(done.succeeded, "it compares nothing");
        }
        for number in 0..BULKS_A_ROUND {
            let key = |item: usize| format!("bulk:{round:02}:{number:04}:{item:04}");
            let items: Vec<_> = (0..BULK_ITEMS)
                .map(|item| (key(item), value.as_slice()))
                .collect();
            let began = Instant::now();
            db.put_many(items).await?;
            bulk.push(began.elapsed());
        }
    }
    let (single, txn, bulk) = (median(single), median(txn), median(bulk));
    println!("single put: {single:.1?}");
    println!(
        "transaction of {TXN_WRITES} puts: {txn:.1?}, {:.2} single puts",
        txn.as_secs_f64() / single.as_secs_f64()
    );
    let items = f64::from(u32::try_from(BULK_ITEMS)?);
    println!(
        "put of {BULK_ITEMS}: {bulk:.1?}, {:.0} keys/s, {:.0} times the throughput of single puts",
        items / bulk.as_secs_f64(),
        items * single.as_secs_f64() / bulk.as_secs_f64()
    );
    Ok(())
}

/// A point read, a lookup and a scan, at the default level.
async fn reads(db: &Concord) -> Result<(), Failure> {
    db.create_index("by-mail", "$.mail")
        .prefix("user:")
        .unique()
        .await?;
    let mail = |number: usize| format!("user-{number}@example.org");
    for numbers in (0..READ_KEYS).collect::<Vec<_>>().chunks(BULK_ITEMS) {
        let user = |number: &usize| {
            let fields = [("mail".to_owned(), Document::String(mail(*number)))];
            let user = Document::Object(fields.into());
            Ok((format!("user:{number:08}"), Value::document(&user)?))
        };
        let users: Result<Vec<_>, Failure> = numbers.iter().map(user).collect();
        db.put_many(users?).await?;
    }
    let (mut get, mut lookup, mut scan) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Far apart, so that neither finds what the last one left in the caches.
        let numbers = || (0..READS_A_ROUND).map(move |n| (n * 7_919 + round) % READ_KEYS);
        let began = Instant::now();
        for number in numbers() {
            let found = db.get(format!("user:{number:08}")).await?;
            assert!(found.is_some(), "it was stored");
        }
        get.push(began.elapsed());
        let began = Instant::now();
        for number in numbers() {
            let found = db.lookup("by-mail").equal(mail(number)).await?;
            assert_eq!(found.records.len(), 1, "every address is one user's");
        }
        lookup.push(began.elapsed());
        let began = Instant::now();
        let page = db.scan().prefix("user:").limit(READ_KEYS).await?;
        scan.push(began.elapsed());
        assert_eq!(page.records.len(), READ_KEYS);
    }
    let reads = f64::from(u32::try_from(READS_A_ROUND)?);
    let (get, lookup, scan) = (median(get), median(lookup), median(scan));
    println!("get: {:.0} ns", get.as_secs_f64() * 1e9 / reads);
    println!(
        "lookup of one value: {:.0} ns, {:.2} gets",
        lookup.as_secs_f64() * 1e9 / reads,
        lookup.as_secs_f64() / get.as_secs_f64()
    );
    println!("scan of {READ_KEYS} keys: {scan:.2?}");
    Ok(())
}

/// Apply of plain overwrites, a view an entry, beside nothing and beside everything else.
fn overwrites() -> Result<(), Failure> {
    let (mut alone, mut log) = loaded(KEYS);
    let (mut beside, mut other_log) = loaded(KEYS);
    fill(&mut beside, &mut other_log, With::Everything)?;
    fill(&mut alone, &mut log, With::Nothing)?;
    // History fills up first, so that compaction keeps step in both.
    for _ in 0..500 {
        let (meta, batch) = log.overwrites(KEYS);
        alone.apply(meta, &batch);
        let (meta, batch) = other_log.overwrites(KEYS);
        beside.apply(meta, &batch);
    }
    let (mut plain, mut full) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(round(&mut alone, &mut log)?);
        full.push(round(&mut beside, &mut other_log)?);
    }
    let a_write = f64::from(u32::try_from(BATCH * ENTRIES_A_ROUND)?);
    let nanos = |times: Vec<Duration>| median(times).as_secs_f64() * 1e9 / a_write;
    let (plain, full) = (nanos(plain), nanos(full));
    println!(
        "apply of an overwrite: {plain:.0} ns of processor; beside {OTHERS} leases, keys with a time to live and indexed keys: \
         {full:.0} ns, {:.2} times",
        full / plain
    );
    Ok(())
}

fn round(store: &mut Store, log: &mut Log) -> Result<Duration, Failure> {
    let entries: Vec<_> = (0..ENTRIES_A_ROUND).map(|_| log.overwrites(KEYS)).collect();
    let mut view = store.view();
    let before = cpu_seconds().ok_or("no /proc/self/stat")?;
    for (meta, batch) in &entries {
        let replies = store.apply(*meta, batch);
        assert_eq!(replies.len(), BATCH, "each request has a reply");
        view = store.view();
    }
    let taken = cpu_seconds().ok_or("no /proc/self/stat")? - before;
    drop(view);
    Ok(Duration::from_secs_f64(taken))
}

/// Leases with keys, keys with a time to live, and an index with entries.
/// What other keys have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// A lease, a time to live, or an index.
    Everything,
    /// None of it: they are only there, so that both stores have as many keys.
    Nothing,
}

fn fill(store: &mut Store, log: &mut Log, with: With) -> Result<(), Failure> {
    let definition = IndexDefinition::new(
        IndexName::new("by-name")?,
        Bytes::from_static(b"indexed:"),
        Extractor::Path(vec![PathStep::Field("name".to_owned())]),
        false,
    )?;
    let mut requests = Vec::new();
    if with == With::Everything {
        let create = Command::CreateIndex {
            definition: definition.into(),
            fill: false,
        };
        requests.push(create.to_bytes());
    }
    let long = Millis::new(24 * 3_600_000);
    for number in 1..=OTHERS {
        let lease = LeaseId::new(u64::try_from(number)?);
        let (leased, ending) = match with {
            With::Everything => {
                requests.push(Command::LeaseGrant { lease, ttl: long }.to_bytes());
                (Lifetime::Lease(lease), Lifetime::Ttl(long))
            }
            With::Nothing => (Lifetime::Forever, Lifetime::Forever),
        };
        requests.push(put(format!("leased:{number}"), Value::text("x"), leased)?);
        requests.push(put(format!("ending:{number}"), Value::text("x"), ending)?);
        let name = Document::String(number.to_string());
        let document = Document::Object([("name".to_owned(), name)].into());
        requests.push(put(
            format!("indexed:{number}"),
            Value::document(&document)?,
            Lifetime::Forever,
        )?);
    }
    for requests in requests.chunks(BATCH) {
        let (meta, batch) = log.entry(requests.to_vec());
        for reply in store.apply(meta, &batch) {
            reply.into_result()?;
        }
    }
    Ok(())
}

fn put(key: String, value: Value, lifetime: Lifetime) -> Result<Bytes, Failure> {
    let command = Command::Put {
        key: Key::new(key)?,
        value: value.into(),
        lifetime,
        condition: None,
        return_previous: false,
    };
    Ok(command.to_bytes())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
