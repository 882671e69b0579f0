//! The steps of a restore.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    CommandError, RESTORE_ABORT, RESTORE_BEGIN, RESTORE_COMMIT, RESTORE_PIECE, VERSION, decode_flags,
};
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::command::Command;
use crate::restore::{RestoreId, RestoreStep};

const KEEP_POLICY: u8 = 0x01;

/// Of a piece: a chunk ends with it.
const ENDS_CHUNK: u8 = 0x01;

/// The restore, then what the step has: flags, and of a piece its number and its bytes.
pub(super) fn encode(restore: RestoreId, step: &RestoreStep, out: &mut Vec<u8>) {
    let code = match step {
        RestoreStep::Begin { .. } => RESTORE_BEGIN,
        RestoreStep::Piece { .. } => RESTORE_PIECE,
        RestoreStep::Commit => RESTORE_COMMIT,
        RestoreStep::Abort => RESTORE_ABORT,
    };
    out.extend_from_slice(&[VERSION, code]);
    out.extend_from_slice(&restore.get().to_be_bytes());
    match step {
        RestoreStep::Begin { keep_policy } => out.push(if *keep_policy { KEEP_POLICY } else { 0 }),
        RestoreStep::Piece {
            number,
            ends_chunk,
            bytes,
        } => {
            out.reserve(bytes.len().saturating_add(11));
            out.push(if *ends_chunk { ENDS_CHUNK } else { 0 });
            writer::number(*number, out);
            out.extend_from_slice(bytes);
        }
        RestoreStep::Commit | RestoreStep::Abort => {}
    }
}

pub(super) fn decode(code: u8, reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, CommandError> {
    let restore = RestoreId::new(u128::from_be_bytes(reader.array()?));
    let step = match code {
        RESTORE_BEGIN => RestoreStep::Begin {
            keep_policy: decode_flags(reader, KEEP_POLICY)? == KEEP_POLICY,
        },
        RESTORE_PIECE => RestoreStep::Piece {
            ends_chunk: decode_flags(reader, ENDS_CHUNK)? == ENDS_CHUNK,
            number: reader.number()?,
            bytes: whole.slice_ref(reader.rest()),
        },
        RESTORE_COMMIT => RestoreStep::Commit,
        _ => RestoreStep::Abort,
    };
    Ok(Command::Restore { restore, step })
}
