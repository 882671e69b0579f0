//! What it costs to pack values and to unpack them, and how small they become: JSON-shaped documents of
//! 1 KiB, 64 KiB and 16 MiB. Medians.
//!
//! `cargo run --release -p concord-benches --example compression`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::time::{Duration, Instant};

use concord_core::{Document, StoredValue, Value};

/// Bytes that go through each measurement, about.
const WORK: usize = 64 << 20;

fn main() {
    println!("raw bytes  level  stored  pack MB/s  unpack MB/s");
    for size in [1 << 10, 64 << 10, 16 << 20] {
        for level in [1, 3, 9] {
            report(size, level);
        }
    }
}

/// Records as applications keep them: the same names, other numbers.
fn document(size: usize) -> Value {
    let fields = |n: usize| {
        let fields = [
            ("id", Document::integer(i64::try_from(n).unwrap_or(i64::MAX))),
            ("name", Document::String(format!("user number {n}"))),
            ("mail", Document::String(format!("user{}@example.org", n * 7_919))),
            ("active", Document::Bool(n.is_multiple_of(3))),
        ];
        Document::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
    };
    // A record is some 70 bytes.
    let records = (0..size.div_ceil(70)).map(fields).collect();
    Value::document(&Document::Array(records)).expect("a plain document")
}

fn report(size: usize, level: i32) {
    let raw = StoredValue::from(document(size));
    let bytes = raw.raw_len();
    let rounds = (WORK / bytes).clamp(5, 10_000);
    let mut packed = raw.clone();
    packed.pack(level);
    assert!(packed.is_packed() && packed.raw_len() == bytes);
    let pack = median(rounds, || {
        let mut value = raw.clone();
        value.pack(level);
        assert!(value.is_packed());
    });
    let unpack = median(rounds, || {
        let plain = packed.clone().unpack().expect("it was just packed");
        assert_eq!(plain.bytes().len(), bytes);
    });
    let rate = |took: Duration| bytes as f64 / took.as_secs_f64() / 1e6;
    let stored = 100.0 * packed.as_ref().bytes().len() as f64 / bytes as f64;
    println!(
        "{bytes:9}  {level:5}  {stored:5.1}%  {:9.0}  {:11.0}",
        rate(pack),
        rate(unpack)
    );
}

fn median(rounds: usize, mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            act();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(rounds / 2).copied().unwrap_or_default()
}
