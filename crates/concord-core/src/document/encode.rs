//! Trees to canonical bytes.

use alloc::vec::Vec;

use super::{Document, DocumentError, Integer};

/// Appends `document`, which may be `depth` levels deep.
pub(super) fn document(document: &Document, depth: usize, out: &mut Vec<u8>) -> Result<(), DocumentError> {
    match document {
        Document::Null => out.push(0xc0),
        Document::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Document::Integer(value) => integer(*value, out),
        Document::Float(value) => {
            out.push(0xcb);
            out.extend_from_slice(&value.get().to_be_bytes());
        }
        Document::String(text) => string(text, out)?,
        Document::Array(items) => {
            let depth = depth.checked_sub(1).ok_or(DocumentError::TooDeep)?;
            counted(items.len(), ARRAY, out)?;
            for item in items {
                self::document(item, depth, out)?;
            }
        }
        Document::Object(fields) => {
            let depth = depth.checked_sub(1).ok_or(DocumentError::TooDeep)?;
            counted(fields.len(), MAP, out)?;
            // A BTreeMap of strings iterates in the canonical order: bytewise.
            for (name, value) in fields {
                string(name, out)?;
                self::document(value, depth, out)?;
            }
        }
    }
    Ok(())
}

/// The markers of one family of lengths: the shortest that fits is the canonical one.
pub(super) struct Family {
    /// First marker with the length inside, and the largest such length.
    pub(super) fix: (u8, u8),
    /// Marker of an 8-bit length; arrays and maps have none.
    pub(super) len8: Option<u8>,
    pub(super) len16: u8,
    pub(super) len32: u8,
}

pub(super) const STRING: Family = Family {
    fix: (0xa0, 31),
    len8: Some(0xd9),
    len16: 0xda,
    len32: 0xdb,
};
pub(super) const ARRAY: Family = Family {
    fix: (0x90, 15),
    len8: None,
    len16: 0xdc,
    len32: 0xdd,
};
pub(super) const MAP: Family = Family {
    fix: (0x80, 15),
    len8: None,
    len16: 0xde,
    len32: 0xdf,
};

fn counted(count: usize, family: Family, out: &mut Vec<u8>) -> Result<(), DocumentError> {
    let count = u32::try_from(count).map_err(|_| DocumentError::TooLong)?;
    if let Ok(short) = u8::try_from(count) {
        if short <= family.fix.1 {
            out.push(family.fix.0 | short);
            return Ok(());
        }
        if let Some(marker) = family.len8 {
            out.extend_from_slice(&[marker, short]);
            return Ok(());
        }
    }
    if let Ok(medium) = u16::try_from(count) {
        out.push(family.len16);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(family.len32);
        out.extend_from_slice(&count.to_be_bytes());
    }
    Ok(())
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), DocumentError> {
    counted(text.len(), STRING, out)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

pub(super) fn integer(value: Integer, out: &mut Vec<u8>) {
    let Integer(value) = value;
    if let Ok(value) = u64::try_from(value) {
        unsigned(value, out);
    } else if let Ok(value) = i64::try_from(value) {
        negative(value, out);
    } else {
        unreachable!("an Integer fits u64 or i64 by construction");
    }
}

fn unsigned(value: u64, out: &mut Vec<u8>) {
    if let Ok(value) = u8::try_from(value) {
        if value >= 0x80 {
            out.push(0xcc);
        }
        out.push(value);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(0xcd);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(0xce);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

fn negative(value: i64, out: &mut Vec<u8>) {
    if let Ok(value) = i8::try_from(value) {
        if value < -32 {
            out.push(0xd0);
        }
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xd1);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xd2);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&value.to_be_bytes());
    }
}
