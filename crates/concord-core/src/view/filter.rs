//! Reads that show some keys only, whatever else matches.
//!
//! Whose keys those are is not known here. A filter comes before every limit: what it hides takes no place on a
//! page, and nothing that a page says depends on it but where it ends when too much was hidden.

use alloc::vec::Vec;
use core::fmt;

use super::Direction;
use crate::key::KeyRange;

/// Which keys a reader is shown.
pub trait KeyFilter: fmt::Debug + Send + Sync {
    /// Whether it is shown this key.
    fn shows(&self, key: &[u8]) -> bool;

    /// Ranges outside of which it is shown nothing: in order, and none touches another. A scan seeks from one to
    /// the next.
    fn ranges(&self) -> &[KeyRange];
}

/// The parts of a range that a filter may show something of, in the order of a scan.
pub fn pieces(range: &KeyRange, filter: Option<&dyn KeyFilter>, direction: Direction) -> Vec<KeyRange> {
    let Some(filter) = filter else {
        return Vec::from([range.clone()]);
    };
    let within = filter.ranges().iter().map(|shown| shown.intersection(range));
    let mut pieces: Vec<KeyRange> = within.filter(|piece| !piece.is_empty()).collect();
    if direction == Direction::Descending {
        pieces.reverse();
    }
    pieces
}
