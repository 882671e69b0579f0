//! What quotas cost apply, as a count of instructions: overwrites of 20,000 keys in entries of 256, a view published
//! after each. With `quota` as its argument the namespace of the keys has one, with `tenant` each write is also that
//! of a tenant's token whose rate is limited.
//!
//! `valgrind --tool=callgrind --toggle-collect='*measured*' target/release/examples/quota_cost [quota|tenant]`
#![expect(clippy::print_stdout, reason = "its output is the point")]

use bytes::Bytes;
use concord_core::{
    Batch, Command, Group, Guard, Key, Lifetime, LogIndex, Machine, Meta, NamespaceEdit, NamespaceQuota,
    PolicyChange, PrincipalId, SessionId, Store, Term, Timestamp, Value,
};

const KEYS: usize = 20_000;
const BATCH: usize = 256;
/// Entries before the measured ones, so that all keys are there.
const ENTRIES_BEFORE: u64 = 100;
const ENTRIES: u64 = 80;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Quota,
    Tenant,
}

fn entry(index: u64, opens: bool, requests: Vec<Bytes>) -> (Meta, Batch) {
    let group = Group {
        session: SessionId::new(1),
        opens,
        acked_below: index << 16,
        first_sequence: index << 16,
        requests,
    };
    let meta = Meta {
        index: LogIndex::new(index),
        term: Term::new(1),
    };
    let batch = Batch {
        proposed_at: Timestamp::new(1_000 * index),
        groups: vec![group],
    };
    (meta, batch)
}

fn overwrites(index: u64, mode: Mode) -> (Meta, Batch) {
    let first = usize::try_from(index).unwrap_or(0) * BATCH;
    let write = |n: usize| {
        // In an order that is not that of the keys.
        let key = format!("acme:{:026}", (first + n) * 7_919 % KEYS);
        let put = Command::Put {
            key: Key::new(key).expect("a short key"),
            value: Value::binary(vec![7; 100]).into(),
            lifetime: Lifetime::Forever,
            condition: None,
            return_previous: false,
        };
        if mode != Mode::Tenant {
            return put.to_bytes();
        }
        let guard = Guard {
            policy_revision: 1,
            expires_at: None,
            principal: PrincipalId::new(b"principal").expect("a short id"),
            is_confined: true,
            tenant: Some(Bytes::from_static(b"acme")),
        };
        let command = Box::new(put);
        Command::Guarded { guard, command }.to_bytes()
    };
    entry(index, false, (0..BATCH).map(write).collect())
}

#[inline(never)]
fn measured(store: &mut Store, entries: &[(Meta, Batch)]) -> usize {
    let mut view = store.view();
    let mut replies = 0;
    for (meta, batch) in entries {
        replies += store.apply(*meta, batch).len();
        view = store.view();
    }
    drop(view);
    replies
}

fn main() {
    let mode = match std::env::args().nth(1).as_deref() {
        Some("quota") => Mode::Quota,
        Some("tenant") => Mode::Tenant,
        Some(_) | None => Mode::Plain,
    };
    let mut store = Store::empty();
    let (meta, batch) = entry(1, true, Vec::new());
    store.apply(meta, &batch);
    let quota = NamespaceQuota {
        max_keys: Some(1 << 20),
        max_storage_bytes: Some(1 << 30),
        max_ops_per_sec: (mode == Mode::Tenant).then_some(1 << 20),
    };
    let edit = NamespaceEdit {
        namespace: Bytes::from_static(b"acme"),
        quota,
        delete_keys: false,
    };
    let limited = if mode == Mode::Plain {
        Vec::new()
    } else {
        vec![edit]
    };
    let change = PolicyChange::new(0, Vec::new()).with_namespaces(limited);
    let (meta, batch) = entry(2, false, vec![Command::EditPolicy(change).to_bytes()]);
    store.apply(meta, &batch);
    for index in 3..3 + ENTRIES_BEFORE {
        let (meta, batch) = overwrites(index, mode);
        store.apply(meta, &batch);
    }
    let before = store.view().revision().get();
    let entries: Vec<_> = (3 + ENTRIES_BEFORE..3 + ENTRIES_BEFORE + ENTRIES)
        .map(|index| overwrites(index, mode))
        .collect();
    let replies = measured(&mut store, &entries);
    let written = store.view().revision().get() - before;
    println!("{replies} requests, {written} written");
}
