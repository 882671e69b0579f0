//! The requests about indexes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{CREATE_INDEX, DROP_INDEX, REINDEX, VERSION};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::command::Command;
use crate::index::{IndexDefinition, IndexName};

pub(super) fn encode_create(definition: &IndexDefinition, fill: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, CREATE_INDEX, u8::from(fill)]);
    definition.encode(out);
}

/// Drops or fills anew.
pub(super) fn encode_named(code: u8, name: &IndexName, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, code]);
    name.encode(out);
}

/// One of the three.
pub(super) fn decode(code: u8, reader: &mut Reader<'_>) -> Result<Command, DecodeError> {
    Ok(match code {
        CREATE_INDEX => Command::CreateIndex {
            fill: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(reader.error("malformed flag")),
            },
            definition: Arc::new(IndexDefinition::decode(reader)?),
        },
        DROP_INDEX => Command::DropIndex {
            name: IndexName::decode(reader)?,
        },
        REINDEX => Command::Reindex {
            name: IndexName::decode(reader)?,
        },
        _ => return Err(reader.error("unknown request about an index")),
    })
}
