//! Committed bytes of packed values: in requests, replies and snapshots.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::*;

use crate::golden;

const FILE: &str = "packed-v1.hex";

fn raw() -> Value {
    Value::text("one and the same ".repeat(40))
}

/// As it was packed when the format was made. What packs today may come to other bytes.
fn packed() -> StoredValue {
    const PACKED: &[u8] = &[
        1, 168, 5, 40, 181, 47, 253, 96, 168, 1, 197, 0, 0, 136, 111, 110, 101, 32, 97, 110, 100, 32, 116,
        104, 101, 32, 115, 97, 109, 101, 32, 1, 0, 41, 81, 53, 151,
    ];
    StoredValue::packed(ValueFormat::Text, Bytes::from_static(PACKED)).unwrap()
}

fn key() -> Key {
    Key::try_from("k").unwrap()
}

fn commands() -> Vec<(&'static str, Command)> {
    let item = || PutItem {
        key: key(),
        value: packed(),
        lifetime: Lifetime::Forever,
    };
    let put = Command::Put {
        key: key(),
        value: packed(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: true,
    };
    let txn = Txn {
        success: vec![Operation::Put {
            item: item(),
            return_previous: false,
        }],
        ..Txn::default()
    };
    vec![
        ("put", put),
        ("put many", Command::PutMany { items: vec![item()] }),
        ("txn", Command::Txn(txn)),
    ]
}

fn reply() -> Reply {
    let record = StoredRecord {
        key: key(),
        value: packed(),
        create_revision: Revision::new(2),
        mod_revision: Revision::new(300),
        version: 7,
        expires_at: None,
        lease: None,
    };
    Reply::Written {
        revision: Revision::new(301),
        previous: Some(record),
    }
}

/// Holds the value, and replaced it before.
fn store() -> Store {
    let put = || commands().swap_remove(0).1;
    golden::store_after([put(), put()])
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = golden::messages(commands(), [("written", reply())]);
    golden::add_snapshot("snapshot chunk", &store(), &mut all);
    all
}

#[test]
fn golden_bytes_of_packed_values_are_written_and_read_as_ever() {
    let title = "# Requests, replies and a snapshot of version 2 with packed values.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    assert_eq!(packed().unpack(), Ok(raw()));
    golden::assert_read(&committed, commands(), [("written", reply())]);
    let restored = golden::restored(&committed, "snapshot chunk 0");
    let view = restored.view();
    assert_eq!(view.get(b"k").unwrap().to_value(), Ok(raw()));
    let before = view.get_at(b"k", Revision::new(2)).unwrap().unwrap();
    assert_eq!(before.to_value(), Ok(raw()));
    assert_eq!(view.statistics(), store().view().statistics());
}
