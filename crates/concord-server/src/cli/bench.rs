//! `concord bench`: how fast a cluster is, as it is seen from here.
//!
//! ```text
//!   grant a lease ──> write every key once ──> callers, until the time is over ──> revoke the lease: all keys go
//!                                                └ read or write ── is it the answer? ──> its time counts
//! ```
//!
//! Each caller has one request under way, so a cluster that stalls is asked less: it tells what so many callers get, not how
//! a stall looks to those who do not wait (the load generator in `benches` does).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use concord_query::duration;
use futures::future::join_all;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Session;
use super::args::BenchArgs;
use super::error::CliError;
use super::hold::Signals;
use super::key;
use crate::client::{Answer, Client, ClientError, Request};

/// How much longer than the run its keys last, if nobody is left to take them away.
const GRACE: Duration = Duration::from_mins(5);
/// Bytes that are written before the first operation is measured.
const DATA_BYTES_MAX: u64 = 1 << 30;
/// After a failure, so that a cluster that is down is not hammered.
const PAUSE: Duration = Duration::from_millis(50);
/// Latencies are counted in microseconds, to three digits, up to an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)];

/// `concord bench`
pub(super) async fn bench(session: &mut Session, args: &BenchArgs) -> Result<(), CliError> {
    let value_bytes = u64::try_from(args.value_bytes).unwrap_or(u64::MAX);
    if args.keys.saturating_mul(value_bytes) > DATA_BYTES_MAX {
        let message = format!(
            "{} keys of {value_bytes} bytes are more than 1 GiB: ask for fewer, or smaller ones",
            args.keys
        );
        return Err(CliError::Usage(message));
    }
    let mut signals = Signals::new()?;
    let lease = grant(session, args).await?;
    let stop = Cell::new(false);
    let found = RefCell::default();
    let load = Load {
        client: &session.client,
        args,
        lease,
        stop: &stop,
        found: &found,
    };
    let measured = {
        let measured = load.run();
        tokio::pin!(measured);
        tokio::select! {
            biased;
            // What is done is done, whoever wanted it to end.
            measured = &mut measured => measured,
            _ = signals.next() => {
                stop.set(true);
                // A second signal leaves the keys to the lease.
                tokio::select! {
                    biased;
                    // As before.
                    measured = &mut measured => measured,
                    _ = signals.next() => return Err(CliError::Exited(130)),
                }
            }
        }
    };
    let revoke = Request::delete(format!("/api/v1/leases/{lease}")).once(None);
    let revoked = session.client.send(&revoke).await;
    measured?;
    let found = found.into_inner();
    print(session, args, &found)?;
    session.out.flush()?;
    if let Err(error) = revoked {
        let left = duration::format(args.duration.saturating_add(GRACE));
        let message = format!(
            "the keys under {}{lease}/ go with their lease, within {left}: {error}",
            args.prefix
        );
        return Err(CliError::Request {
            code: "failed",
            message,
        });
    }
    found.check()
}

/// What all keys hang on.
async fn grant(session: &Session, args: &BenchArgs) -> Result<u64, CliError> {
    let ttl = duration::format(args.duration.saturating_add(GRACE));
    let request = Request::post("/api/v1/leases")
        .json(&json!({ "ttl": ttl }))
        .once(None);
    let answer = session.client.send(&request).await?;
    let granted: Value = answer.data()?;
    let id = granted.get("id").and_then(Value::as_u64);
    id.ok_or_else(|| garbled(&answer, "there is no lease in it").into())
}

fn garbled(answer: &Answer, reason: &str) -> ClientError {
    ClientError::Garbled {
        endpoint: answer.endpoint.clone(),
        status: answer.status,
        reason: reason.to_owned(),
    }
}

/// What is asked, by every caller.
#[derive(Clone, Copy)]
struct Load<'a> {
    client: &'a Client,
    args: &'a BenchArgs,
    lease: u64,
    stop: &'a Cell<bool>,
    found: &'a RefCell<Found>,
}

impl Load<'_> {
    async fn run(self) -> Result<(), CliError> {
        let callers = u64::try_from(self.args.callers).unwrap_or(u64::MAX);
        let filled = join_all((0..callers).map(|caller| self.fill(caller, callers))).await;
        filled.into_iter().collect::<Result<(), _>>()?;
        let began = Instant::now();
        join_all((0..callers).map(|caller| self.ask(caller, began))).await;
        self.found.borrow_mut().took = began.elapsed();
        Ok(())
    }

    /// Writes this caller's share of the keys.
    async fn fill(self, caller: u64, callers: u64) -> Result<(), CliError> {
        let mut number = caller;
        while number < self.args.keys && !self.stop.get() {
            // Under a name, so that one that gets lost is sent again.
            let request = self.write(number)?.once(None);
            self.client.send(&request).await?;
            number = number.saturating_add(callers);
        }
        Ok(())
    }

    /// One operation after the other, until the time is over.
    async fn ask(self, caller: u64, began: Instant) {
        let mut latest = 0;
        let mut random = caller;
        for turn in caller.. {
            let is_over = began.elapsed() >= self.args.duration;
            if is_over || self.stop.get() {
                break;
            }
            random = next(random);
            let number = random % self.args.keys;
            let is_read = is_read(turn, self.args.reads);
            let asked = Instant::now();
            let outcome = if is_read {
                self.read(number).await
            } else {
                self.written(number, &mut latest).await
            };
            let has_failed = outcome.is_err();
            self.found.borrow_mut().add(is_read, asked.elapsed(), outcome);
            if has_failed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// That it was written: at a later revision than the caller's last write.
    async fn written(self, number: u64, latest: &mut u64) -> Result<(), CliError> {
        let answer = self.client.send(&self.write(number)?).await?;
        let revision = answer
            .header("x-concord-revision")
            .and_then(|text| text.parse().ok());
        match revision {
            Some(revision) if revision > *latest => *latest = revision,
            _ => return Err(garbled(&answer, "it names no later revision").into()),
        }
        Ok(())
    }

    /// That it is what was written there.
    async fn read(self, number: u64) -> Result<(), CliError> {
        let request = Request::get(self.path(number)?)
            .query("consistency", Some(self.args.consistency.name()))
            .accept(key::BINARY);
        let answer = self.client.send(&request).await?;
        if answer.body != self.value(number) {
            return Err(garbled(&answer, "it is not the value that was written").into());
        }
        Ok(())
    }

    fn write(self, number: u64) -> Result<Request, CliError> {
        let request = Request::put(self.path(number)?).query("lease", Some(self.lease));
        Ok(request.body(key::BINARY, self.value(number)))
    }

    fn path(self, number: u64) -> Result<String, CliError> {
        key::path(&format!("{}{}/{number}", self.args.prefix, self.lease))
    }

    /// A value that no other key has, if it has room to say so.
    fn value(self, number: u64) -> Bytes {
        let mut value = number.to_string().into_bytes();
        value.resize(self.args.value_bytes, b'.');
        value.into()
    }
}

/// Whether this turn is a read: so many of any hundred in a row are.
const fn is_read(turn: u64, percent: u64) -> bool {
    (turn % 100) * percent / 100 != (turn % 100 + 1) * percent / 100
}

/// The next of a sequence that looks random. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
/// 2014 (SplitMix64).
const fn next(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What came of the operations.
#[derive(Debug, Default)]
struct Found {
    took: Duration,
    writes: Operations,
    reads: Operations,
    /// How many failed with which code.
    errors: BTreeMap<String, u64>,
    /// The first of them in words.
    example: Option<String>,
}

/// Operations of one kind.
#[derive(Debug)]
struct Operations {
    latency_us: Histogram<u64>,
    failed: u64,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            latency_us: Histogram::new_with_max(LATENCY_MAX_US, DIGITS).expect("three digits fit any range"),
            failed: 0,
        }
    }
}

impl Operations {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn per_second(&self, took: Duration) -> f64 {
        self.latency_us.len() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn row(&self, what: String, took: Duration) -> Vec<String> {
        let micros = |micros: u64| format!("{}.{:03} ms", micros / 1_000, micros % 1_000);
        let mut row = vec![
            what,
            self.latency_us.len().to_string(),
            format!("{:.0}", self.per_second(took)),
        ];
        row.extend(QUANTILES.map(|(_, quantile)| micros(self.latency_us.value_at_quantile(quantile))));
        row.push(micros(self.latency_us.max()));
        row.push(self.failed.to_string());
        row
    }

    fn json(&self, took: Duration) -> Value {
        let mut latency: serde_json::Map<String, Value> = QUANTILES
            .iter()
            .map(|(name, quantile)| {
                (
                    (*name).to_owned(),
                    json!(self.latency_us.value_at_quantile(*quantile)),
                )
            })
            .collect();
        latency.insert("mean".to_owned(), json!(self.latency_us.mean()));
        latency.insert("max".to_owned(), json!(self.latency_us.max()));
        json!({
            "operations": self.latency_us.len(),
            "per_second": self.per_second(took),
            "failed": self.failed,
            "latency_us": latency,
        })
    }
}

impl Found {
    fn add(&mut self, is_read: bool, took: Duration, outcome: Result<(), CliError>) {
        let of = if is_read {
            &mut self.reads
        } else {
            &mut self.writes
        };
        match outcome {
            Ok(()) => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                of.latency_us.saturating_record(micros);
            }
            Err(error) => {
                of.failed += 1;
                *self.errors.entry(error.code().to_owned()).or_default() += 1;
                self.example.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// That nothing failed.
    fn check(&self) -> Result<(), CliError> {
        let failed = self.writes.failed + self.reads.failed;
        if failed == 0 {
            return Ok(());
        }
        let all = self.writes.latency_us.len() + self.reads.latency_us.len() + failed;
        let example = self.example.as_deref().unwrap_or_default();
        Err(CliError::Request {
            code: "failed",
            message: format!("{failed} of {all} operations failed, one of them so: {example}"),
        })
    }
}

fn print(session: &mut Session, args: &BenchArgs, found: &Found) -> Result<(), CliError> {
    let took = found.took;
    if session.out.is_json() {
        return session.out.json(&json!({
            "callers": args.callers,
            "keys": args.keys,
            "value_bytes": args.value_bytes,
            "consistency": args.consistency.name(),
            "seconds": took.as_secs_f64(),
            "writes": found.writes.json(took),
            "reads": found.reads.json(took),
            "errors": found.errors,
        }));
    }
    session.out.line(format!(
        "{} callers, {} keys of {} bytes, {:.1} s",
        args.callers,
        args.keys,
        args.value_bytes,
        took.as_secs_f64()
    ))?;
    let head = [
        "OPERATION",
        "COUNT",
        "PER SECOND",
        "P50",
        "P95",
        "P99",
        "P99.9",
        "MAX",
        "FAILED",
    ];
    let rows = [
        found.writes.row("write".to_owned(), took),
        found
            .reads
            .row(format!("read ({})", args.consistency.name()), took),
    ];
    session.out.table(&head, rows)?;
    for (code, count) in &found.errors {
        session.out.line(format!("failed with {code}: {count}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_any_hundred_turns_are_reads() {
        for percent in [0, 1, 33, 50, 99, 100] {
            for from in [0, 7, 64] {
                let reads = (from..from + 100).filter(|turn| is_read(*turn, percent)).count();
                assert_eq!(u64::try_from(reads).unwrap(), percent);
            }
        }
    }

    #[test]
    fn a_run_with_a_failure_is_no_success_and_says_why() {
        let mut found = Found::default();
        let took = Duration::from_millis(3);
        for is_read in [true, true, false] {
            found.add(is_read, took, Ok(()));
        }
        assert!(found.check().is_ok());
        for message in ["too slow", "slower"] {
            let message = message.to_owned();
            found.add(
                false,
                took,
                Err(CliError::Request {
                    code: "timeout",
                    message,
                }),
            );
        }
        assert_eq!(found.errors, BTreeMap::from([("timeout".to_owned(), 2)]));
        assert_eq!((found.reads.latency_us.len(), found.reads.failed), (2, 0));
        assert_eq!((found.writes.latency_us.len(), found.writes.failed), (1, 2));
        let error = found.check().unwrap_err();
        assert_eq!(error.code(), "failed");
        let (text, _) = error.report(false);
        assert!(
            text.contains("2 of 5 operations failed") && text.contains("too slow"),
            "{text}"
        );
        let json = found.reads.json(Duration::from_secs(2));
        assert_eq!(json["per_second"], 1.0);
        assert_eq!(json["latency_us"]["p50"].as_u64(), Some(3_001), "to three digits");
    }
}
