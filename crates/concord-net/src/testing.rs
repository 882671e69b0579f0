//! What the tests of several modules need.

use concord_core::ids::NodeId;
use concord_raft::ports::PeerIdentity;

use crate::proof::ClusterSecret;

pub(crate) fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(vec![byte; 32]).unwrap()
}

pub(crate) fn node(id: u64) -> PeerIdentity {
    PeerIdentity {
        node_id: NodeId::new(id),
        store_id: u128::from(id) << 64 | 0xabcd,
        cluster_id: Some(0xc1),
    }
}

/// The value of `name` in a file of `name: hex` lines; `#` begins a comment.
pub(crate) fn golden(file: &str, name: &str) -> Vec<u8> {
    let digits = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name))
        .unwrap_or_else(|| panic!("no golden bytes named {name}"))
        .1;
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[track_caller]
pub(crate) fn assert_golden(file: &str, name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, golden(file, name), "{name}: {hex}");
}
