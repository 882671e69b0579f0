//! Committed bytes of what came with the machine of version 2: its raise, and snapshots that say whose they are.

use std::collections::BTreeMap;

use concord_core::*;

use crate::golden;

const FILE: &str = "version-v2.hex";

fn store() -> Store {
    let put = Command::Put {
        key: Key::try_from("k").unwrap(),
        value: Value::text("v").into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    };
    let mut store = golden::store_after([put]);
    let group = Group {
        session: SessionId::new(7),
        opens: false,
        acked_below: 1,
        first_sequence: 2,
        requests: vec![raise()],
    };
    let meta = Meta {
        index: LogIndex::new(3),
        term: Term::new(1),
    };
    let batch = Batch {
        proposed_at: Timestamp::new(1_800_000_000_003),
        groups: vec![group],
    };
    store.apply(meta, &batch);
    store
}

fn raise() -> bytes::Bytes {
    ClusterVersion::known(MachineVersion::new(2)).unwrap().raise()
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::from([("request raise".to_owned(), raise().to_vec())]);
    golden::add_snapshot("snapshot chunk", &store(), &mut all);
    all
}

#[test]
fn golden_bytes_of_version_2_are_written_and_read_as_ever() {
    let title = "# The request that raises the machine to version 2, and a snapshot of that machine.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    let restored = golden::restored(&committed, "snapshot chunk 0");
    assert_eq!(restored.version().version, MachineVersion::new(2));
    assert_eq!(restored.view().statistics(), store().view().statistics());
}
