//! Changes of the policy, and requests on somebody's behalf.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{CommandError, EDIT_POLICY, GUARDED, VERSION, decode_flags};
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::command::Command;
use crate::ids::Timestamp;
use crate::limits::KEY_BYTES_MAX;
use crate::namespace::{NamespaceEdit, decode_quota, encode_quota};
use crate::policy::{Guard, PolicyChange, PolicyEdit, PrincipalId};
use crate::version::MachineVersion;

/// An edit writes a record; otherwise it removes one.
const WRITES: u8 = 0x01;

/// Of a namespace: its keys are deleted.
const DELETES_KEYS: u8 = 0x01;

const EXPIRES: u8 = 0x01;
const CONFINED: u8 = 0x02;
const HAS_TENANT: u8 = 0x04;

/// Optional revision, then edits: flags, key, perhaps the record; then namespaces, if there are any.
pub(super) fn encode_edit(change: &PolicyChange, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, EDIT_POLICY]);
    writer::optional(change.expected, out);
    writer::count(change.edits.len(), out);
    for PolicyEdit { key, record } in &change.edits {
        out.push(if record.is_some() { WRITES } else { 0 });
        writer::bytes(key, out);
        if let Some(record) = record {
            writer::bytes(record, out);
        }
    }
    if change.namespaces.is_empty() {
        return;
    }
    writer::count(change.namespaces.len(), out);
    for edit in &change.namespaces {
        out.push(if edit.delete_keys { DELETES_KEYS } else { 0 });
        writer::bytes(&edit.namespace, out);
        encode_quota(&edit.quota, out);
    }
}

pub(super) fn decode_edit(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, DecodeError> {
    let expected = reader.optional()?;
    let count = reader.count(2)?;
    // Room is made as edits come: they take more of it than of bytes.
    let mut edits = Vec::new();
    for _ in 0..count {
        let writes = decode_flags(reader, WRITES)? == WRITES;
        let key = reader.shared(whole)?;
        let record = if writes { Some(reader.shared(whole)?) } else { None };
        edits.push(PolicyEdit { key, record });
    }
    Ok(Command::EditPolicy(PolicyChange {
        expected,
        edits,
        namespaces: decode_namespaces(reader, whole)?,
    }))
}

fn decode_namespaces(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Vec<NamespaceEdit>, DecodeError> {
    let mut namespaces = Vec::new();
    if reader.left() == 0 {
        return Ok(namespaces);
    }
    let count = reader.count(5)?;
    if count == 0 {
        return Err(reader.error("empty list of namespaces"));
    }
    for _ in 0..count {
        let flags = decode_flags(reader, DELETES_KEYS)?;
        namespaces.push(NamespaceEdit {
            namespace: reader.shared(whole)?,
            quota: decode_quota(reader)?,
            delete_keys: flags & DELETES_KEYS != 0,
        });
    }
    Ok(namespaces)
}

/// The guard, then the request: the rest.
pub(super) fn encode_guarded(guard: &Guard, command: &Command, out: &mut Vec<u8>) {
    let Guard {
        policy_revision,
        expires_at,
        principal,
        is_confined,
        tenant,
    } = guard;
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(expires_at.is_some(), EXPIRES)
        | flag(*is_confined, CONFINED)
        | flag(tenant.is_some(), HAS_TENANT);
    out.extend_from_slice(&[VERSION, GUARDED, flags]);
    writer::number(*policy_revision, out);
    if let Some(end) = expires_at {
        writer::number(end.get(), out);
    }
    writer::bytes(principal.as_bytes(), out);
    if let Some(tenant) = tenant {
        writer::bytes(tenant, out);
    }
    command.encode(out);
}

/// Reads the guard of a guarded request, behind its code: what is left is the request.
fn decode_guard(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Guard, DecodeError> {
    let flags = decode_flags(reader, EXPIRES | CONFINED | HAS_TENANT)?;
    let policy_revision = reader.number()?;
    let expires_at = if flags & EXPIRES != 0 {
        Some(Timestamp::new(reader.number()?))
    } else {
        None
    };
    let principal = PrincipalId::decode(reader.bytes()?, reader)?;
    let tenant = if flags & HAS_TENANT != 0 {
        let tenant = reader.shared(whole)?;
        if !(1..=KEY_BYTES_MAX).contains(&tenant.len()) {
            return Err(reader.error("malformed namespace"));
        }
        Some(tenant)
    } else {
        None
    };
    Ok(Guard {
        policy_revision,
        expires_at,
        principal,
        is_confined: flags & CONFINED != 0,
        tenant,
    })
}

impl Guard {
    /// Takes the guard off an encoded request, if it has one; the rest is the request.
    pub(crate) fn take_off(request: &Bytes) -> Result<Option<(Self, Bytes)>, CommandError> {
        if !request.starts_with(&[VERSION, GUARDED]) {
            return Ok(None);
        }
        let mut reader = Reader::new(request);
        reader.take(2)?;
        let guard = decode_guard(&mut reader, request)?;
        let request = request.slice_ref(reader.rest());
        if request.get(1) == Some(&GUARDED) {
            return Err(reader.error("guard within another").into());
        }
        Ok(Some((guard, request)))
    }
}

/// A request behind a guard, which is no guarded one itself.
pub(super) fn decode_guarded(
    whole: &Bytes,
    reader: &mut Reader<'_>,
    machine: MachineVersion,
) -> Result<Command, CommandError> {
    let Some((guard, request)) = Guard::take_off(whole)? else {
        return Err(reader.error("no guard").into());
    };
    reader.rest();
    let command = Box::new(Command::decode_at(&request, machine)?);
    Ok(Command::Guarded { guard, command })
}
