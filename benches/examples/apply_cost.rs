//! Overwrites of 100,000 keys, a view published after each entry of 256, for a count of
//! instructions: `valgrind --tool=callgrind --toggle-collect='*measured*' <this>`. Steadier
//! than seconds on a machine that others use too.
#![expect(clippy::print_stdout, reason = "its output is the point")]

use bytes::Bytes;
use concord_benches::fixture::{BATCH, loaded};
use concord_core::{Batch, Machine, Meta, Store};

const KEYS: usize = 100_000;
/// Entries until history is full, so that compaction keeps step.
const ENTRIES_BEFORE: usize = 500;
const ENTRIES: usize = 80;

#[inline(never)]
fn measured(store: &mut Store, entries: &[(Meta, Bytes)]) -> usize {
    let mut view = store.view();
    let mut replies = 0;
    for (meta, bytes) in entries {
        let batch = Batch::decode(bytes).expect("it was just encoded");
        replies += store.apply(*meta, &batch).len();
        view = store.view();
    }
    drop(view);
    replies
}

fn main() {
    let (mut store, mut log) = loaded(KEYS);
    for _ in 0..ENTRIES_BEFORE {
        let (meta, batch) = log.overwrites(KEYS);
        store.apply(meta, &batch);
    }
    let entries: Vec<_> = (0..ENTRIES)
        .map(|_| {
            let (meta, batch) = log.overwrites(KEYS);
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            (meta, Bytes::from(bytes))
        })
        .collect();
    let replies = measured(&mut store, &entries);
    println!("{replies} overwrites in entries of {BATCH}");
}
