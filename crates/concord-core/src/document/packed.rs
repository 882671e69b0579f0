//! Reading a document where it lies: one item at a time, without building a tree.
//!
//! The bytes are those of the keyspace, which are canonical; with others nothing is found.

use super::decode::Walk;
use super::encode::{ARRAY, MAP, STRING};
use super::{Finite, Integer};

/// What an item begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Head<'a> {
    Null,
    Bool(bool),
    Integer(Integer),
    Float(Finite),
    /// UTF-8, not checked again.
    String(&'a [u8]),
    /// So many items follow.
    List(usize),
    /// So many names follow, each with an item.
    Map(usize),
}

/// The first item of `bytes`, and what follows its head.
pub(crate) fn head(bytes: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let mut walk = Walk { bytes, at: 0 };
    let [marker] = walk.array().ok()?;
    let head = match marker {
        0xc0 => Head::Null,
        0xc2 => Head::Bool(false),
        0xc3 => Head::Bool(true),
        0xcb => Head::Float(Finite::new(f64::from_be_bytes(walk.array().ok()?))?),
        0x00..=0x7f | 0xcc..=0xcf | 0xd0..=0xd3 | 0xe0..=0xff => {
            Head::Integer(Integer(walk.integer(marker, 0).ok()?))
        }
        0xa0..=0xbf | 0xd9..=0xdb => {
            let length = walk.count(&STRING, marker, 0).ok()?;
            Head::String(walk.take(length).ok()?)
        }
        0x90..=0x9f | 0xdc | 0xdd => Head::List(walk.count(&ARRAY, marker, 0).ok()?),
        0x80..=0x8f | 0xde | 0xdf => Head::Map(walk.count(&MAP, marker, 0).ok()?),
        0xc1 | 0xc4..=0xca | 0xd4..=0xd8 => return None,
    };
    Some((head, bytes.get(walk.at..)?))
}

/// What follows the first `items` items of `bytes`, and how many heads that took. Loops
/// instead of recursing, so that depth costs nothing.
pub(crate) fn skip(bytes: &[u8], items: usize) -> Option<(&[u8], u64)> {
    let (mut rest, mut left, mut heads) = (bytes, items, 0);
    while left > 0 {
        let (head, behind) = self::head(rest)?;
        left = match head {
            Head::List(count) => left.checked_add(count)?,
            Head::Map(count) => left.checked_add(count.checked_mul(2)?)?,
            Head::Null | Head::Bool(_) | Head::Integer(_) | Head::Float(_) | Head::String(_) => left,
        };
        left -= 1;
        heads += 1;
        rest = behind;
    }
    Some((rest, heads))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::document::Document;

    #[test]
    fn items_are_skipped_whole() {
        let fields = [
            (
                "a".into(),
                Document::Array(vec![Document::Null, Document::integer(7_i64)]),
            ),
            (
                "b".into(),
                Document::Object([("c".into(), Document::Bool(true))].into()),
            ),
        ];
        let document = Document::Array(vec![
            Document::Object(fields.into()),
            Document::String("after".into()),
        ]);
        let bytes = document.encode().unwrap();
        let (Head::List(2), items) = head(&bytes).unwrap() else {
            panic!("a list of two");
        };
        let (rest, heads) = skip(items, 1).unwrap();
        assert_eq!(heads, 9);
        assert_eq!(head(rest), Some((Head::String(b"after"), &[][..])));
        assert_eq!(skip(&bytes, 1), Some((&[][..], 11)));
        assert_eq!(skip(&bytes, 2), None, "there is one item only");
        assert_eq!(skip(&[0xdd, 0xff, 0xff, 0xff, 0xff], 1), None);
    }
}
