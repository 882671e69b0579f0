//! Committed bytes of indexes: requests, replies and what a snapshot keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use concord_core::expr::{Expr, Variable};
use concord_core::index::{Extractor, IndexDefinition, IndexName, IndexProgress, PathStep};
use concord_core::reply::InvalidRequestReason;
use concord_core::*;

use crate::golden;

const FILE: &str = "index-v1.hex";

fn name(text: &str) -> IndexName {
    IndexName::new(text).unwrap()
}

fn definitions() -> Vec<IndexDefinition> {
    let path = vec![PathStep::Field("tags".into()), PathStep::Each];
    let expression = Expression::new(Expr::Variable(Variable::Value).field("n")).unwrap();
    vec![
        IndexDefinition::new(name("by tag"), "user:", Extractor::Path(path), false).unwrap(),
        IndexDefinition::new(name("é"), "", Extractor::Expression(expression), true).unwrap(),
    ]
}

fn commands() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    for (n, definition) in definitions().into_iter().enumerate() {
        let command = Command::CreateIndex {
            definition: Arc::new(definition),
            fill: n == 0,
        };
        all.push((format!("create {n}"), command));
    }
    all.push(("drop".into(), Command::DropIndex { name: name("by tag") }));
    all.push(("reindex".into(), Command::Reindex { name: name("é") }));
    all
}

fn replies() -> Vec<(&'static str, Reply)> {
    let unique = Rejection::UniqueViolation { index: name("é") };
    let many = Rejection::InvalidRequest {
        reason: InvalidRequestReason::TooManyIndexes,
    };
    vec![
        (
            "changed",
            Reply::IndexChanged {
                revision: Revision::new(300),
            },
        ),
        ("unique violation", Reply::Rejected(unique)),
        ("exists", Reply::Rejected(Rejection::IndexExists)),
        ("not found", Reply::Rejected(Rejection::IndexNotFound)),
        ("too many", Reply::Rejected(many)),
    ]
}

/// Indexes of every progress.
fn store() -> Store {
    let put = |number: usize| PutItem {
        key: Key::try_from(format!("k{number:04}").as_str()).unwrap(),
        value: Value::text("").into(),
        lifetime: Lifetime::Forever,
    };
    let version = Expression::new(Expr::Variable(Variable::Version)).unwrap();
    let make = |text: &str, unique, fill| Command::CreateIndex {
        definition: Arc::new(
            IndexDefinition::new(name(text), "k", Extractor::Expression(version.clone()), unique).unwrap(),
        ),
        fill,
    };
    let batches = [
        vec![],
        vec![Command::PutMany {
            items: (0..500).map(put).collect(),
        }],
        vec![Command::PutMany {
            items: (500..1_000).map(put).collect(),
        }],
        vec![make("failed", true, true), make("ready", false, true)],
        vec![],
        vec![
            make("written", false, false),
            make("half", false, true),
            make("not begun", false, true),
            Command::PutMany {
                items: (1_000..1_001).map(put).collect(),
            },
        ],
    ];
    let mut store = Store::empty();
    let mut first_sequence = 1;
    for (index, commands) in (1..).zip(batches) {
        let requests: Vec<_> = commands.iter().map(Command::to_bytes).collect();
        let count = requests.len() as u64;
        let group = Group {
            session: SessionId::new(7),
            opens: index == 1,
            acked_below: first_sequence,
            first_sequence,
            requests,
        };
        first_sequence += count;
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        let batch = Batch {
            proposed_at: Timestamp::new(1_800_000_000_000),
            groups: vec![group],
        };
        for reply in store.apply(meta, &batch) {
            assert!(!matches!(reply, Reply::Rejected(_)), "{reply:?}");
        }
    }
    store
}

/// The end of a snapshot: its index items, of which the first is found by its tag and name.
fn index_items(chunk: &[u8]) -> Vec<u8> {
    let first = b"\x20\x06failed";
    let start = chunk.windows(first.len()).rposition(|window| window == first);
    chunk[start.unwrap()..].to_vec()
}

fn snapshot() -> Vec<Bytes> {
    Store::snapshot(&store().view()).collect()
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = golden::messages(commands(), replies());
    all.insert("snapshot items".into(), index_items(snapshot().last().unwrap()));
    all
}

#[test]
fn golden_bytes_of_indexes_are_written_and_read_as_ever() {
    let title = "# Requests, replies and snapshot items of version 1 that came with indexes.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    golden::assert_read(&committed, commands(), replies());
}

#[test]
fn indexes_of_every_progress_are_restored() {
    let store = store();
    let progress = |text: &str| store.view().index(&name(text)).unwrap().progress;
    assert!(matches!(progress("failed"), IndexProgress::Failed { .. }));
    assert_eq!(progress("ready"), IndexProgress::Ready);
    assert_eq!(progress("half"), IndexProgress::Filling { keys: 1_000 });
    assert_eq!(progress("not begun"), IndexProgress::Filling { keys: 0 });
    assert!(matches!(progress("written"), IndexProgress::WritesSince(_)));
    let mut restorer = Store::restorer();
    for chunk in snapshot() {
        restorer.feed(&chunk).unwrap();
    }
    let restored = restorer.finish().unwrap();
    assert!(store.view().indexes().eq(restored.view().indexes()));
    assert_eq!(invariants::check(&restored), Ok(()));
}
