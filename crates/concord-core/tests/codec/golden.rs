//! Files of committed bytes: a line of hexadecimal for each name.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use bytes::Bytes;
use concord_core::*;

/// Reads a file of `testdata/`, after writing it anew if that is asked for.
pub(crate) fn committed(
    file: &str,
    title: &str,
    written: impl FnOnce() -> BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CONCORD_GOLDEN_UPDATE").is_some() {
        let mut text = format!("{title}\n");
        for (name, bytes) in written() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{name}: {hex}").unwrap();
        }
        std::fs::write(&path, text).unwrap();
    }
    read(file)
}

/// Reads a file of `testdata/`.
pub(crate) fn read(file: &str) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read_to_string(&path).unwrap();
    let lines = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap());
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    lines.map(|(name, hex)| (name.to_string(), bytes(hex))).collect()
}

/// Requests and replies by name, as they are written now.
pub(crate) fn messages<N: Display>(
    commands: impl IntoIterator<Item = (N, Command)>,
    replies: impl IntoIterator<Item = (&'static str, Reply)>,
) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, bytes: Vec<u8>| assert!(all.insert(name, bytes).is_none());
    for (name, command) in commands {
        add(format!("request {name}"), command.to_bytes().to_vec());
    }
    for (name, reply) in replies {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        add(format!("reply {name}"), bytes);
    }
    all
}

/// Finds that requests and replies are read from what was committed under their names.
pub(crate) fn assert_read<N: Display>(
    committed: &BTreeMap<String, Vec<u8>>,
    commands: impl IntoIterator<Item = (N, Command)>,
    replies: impl IntoIterator<Item = (&'static str, Reply)>,
) {
    let bytes = |name: String| Bytes::from(committed[&name].clone());
    for (name, command) in commands {
        assert_eq!(Command::decode(&bytes(format!("request {name}"))), Ok(command));
    }
    for (name, reply) in replies {
        assert_eq!(Reply::decode(&bytes(format!("reply {name}"))), Ok(reply));
    }
}

/// A store to which these requests were made in one entry.
pub(crate) fn store_after(requests: impl IntoIterator<Item = Command>) -> Store {
    let mut store = Store::empty();
    let group = |opens, requests| Group {
        session: SessionId::new(7),
        opens,
        acked_below: 1,
        first_sequence: 1,
        requests,
    };
    let requests = requests.into_iter().map(|command| command.to_bytes()).collect();
    for (index, group) in (1..).zip([group(true, vec![]), group(false, requests)]) {
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        let batch = Batch {
            proposed_at: Timestamp::new(1_800_000_000_000 + index),
            groups: vec![group],
        };
        store.apply(meta, &batch);
    }
    store
}

/// Adds the chunks of a store's snapshot, under this name and their number.
pub(crate) fn add_snapshot(name: &str, store: &Store, all: &mut BTreeMap<String, Vec<u8>>) {
    for (n, chunk) in Store::snapshot(&store.view()).enumerate() {
        all.insert(format!("{name} {n}"), chunk.to_vec());
    }
}

/// The store that a committed snapshot of one chunk holds.
pub(crate) fn restored(committed: &BTreeMap<String, Vec<u8>>, chunk: &str) -> Store {
    let mut restorer = Store::restorer();
    restorer.feed(&Bytes::from(committed[chunk].clone())).unwrap();
    let restored = restorer.finish().unwrap();
    assert_eq!(invariants::check(&restored), Ok(()));
    restored
}
