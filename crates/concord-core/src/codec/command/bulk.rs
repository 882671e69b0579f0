//! Puts, deletes and touches of many. Every item is judged, not just the first (D-DATA-3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    CommandError, DELETE_MANY, FORMAT_MASK, LIFETIME, PACKED, PUT_MANY, TOUCH_MANY, VERSION, decode_flags,
    decode_lifetime, decode_stored, encode_lifetime, lifetime_flag, value_flags,
};
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::command::{Command, PutItem, TouchItem};
use crate::key::Key;
use crate::limits::BATCH_ITEMS_MAX;
use crate::reply::{BatchUnit, RequestPart};

pub(super) fn encode_puts(items: &[PutItem], out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, PUT_MANY]);
    writer::count(items.len(), out);
    for item in items {
        encode_put(item, 0, out);
    }
}

pub(super) fn encode_deletes(keys: &[Key], out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, DELETE_MANY]);
    writer::count(keys.len(), out);
    for key in keys {
        writer::bytes(key.as_bytes(), out);
    }
}

pub(super) fn encode_touches(items: &[TouchItem], out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, TOUCH_MANY]);
    writer::count(items.len(), out);
    for item in items {
        encode_touch(item, out);
    }
}

pub(super) fn decode_puts(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, CommandError> {
    let items = decode_items(reader, 3, |reader| Ok(decode_put(reader, whole, 0)?.0))?;
    Ok(Command::PutMany { items })
}

pub(super) fn decode_deletes(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, CommandError> {
    let keys = decode_items(reader, 1, |reader| Ok(Key::new(reader.shared(whole)?)?))?;
    Ok(Command::DeleteMany { keys })
}

pub(super) fn decode_touches(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, CommandError> {
    let items = decode_items(reader, 2, |reader| decode_touch(reader, whole))?;
    Ok(Command::TouchMany { items })
}

/// A put among others; its value does not end the request.
pub(super) fn encode_put(item: &PutItem, flags: u8, out: &mut Vec<u8>) {
    let PutItem { key, value, lifetime } = item;
    out.push(flags | value_flags(value) | lifetime_flag(*lifetime));
    writer::bytes(key.as_bytes(), out);
    encode_lifetime(*lifetime, out);
    writer::bytes(value.bytes(), out);
}

/// Reads a put among others, and its flags.
pub(super) fn decode_put(
    reader: &mut Reader<'_>,
    whole: &Bytes,
    known_flags: u8,
) -> Result<(PutItem, u8), CommandError> {
    let flags = decode_flags(reader, known_flags | FORMAT_MASK | PACKED | LIFETIME)?;
    let key = Key::new(reader.shared(whole)?)?;
    let lifetime = decode_lifetime(flags, reader)?;
    let bytes = reader.shared(whole)?;
    let value = decode_stored(flags, bytes, reader)?;
    Ok((PutItem { key, value, lifetime }, flags))
}

pub(super) fn encode_touch(item: &TouchItem, out: &mut Vec<u8>) {
    out.push(lifetime_flag(item.lifetime));
    writer::bytes(item.key.as_bytes(), out);
    encode_lifetime(item.lifetime, out);
}

pub(super) fn decode_touch(reader: &mut Reader<'_>, whole: &Bytes) -> Result<TouchItem, CommandError> {
    let flags = decode_flags(reader, LIFETIME)?;
    let key = Key::new(reader.shared(whole)?)?;
    let lifetime = decode_lifetime(flags, reader)?;
    Ok(TouchItem { key, lifetime })
}

/// A list of items, each of which takes at least `bytes_each`. Their number is judged before
/// room is made for them.
fn decode_items<'a, T>(
    reader: &mut Reader<'a>,
    bytes_each: usize,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, CommandError>,
) -> Result<Vec<T>, CommandError> {
    let count = reader.count(bytes_each)?;
    if count > BATCH_ITEMS_MAX {
        return Err(CommandError::TooLarge {
            unit: BatchUnit::Items,
            count,
            limit: BATCH_ITEMS_MAX,
        });
    }
    let mut items = Vec::with_capacity(count);
    for index in 0..count {
        items.push(item(reader).map_err(|cause| CommandError::InPart {
            part: RequestPart::Item,
            index,
            cause: Box::new(cause),
        })?);
    }
    Ok(items)
}
