//! The requests about subscriptions.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{ACK_SUBSCRIPTION, CREATE_SUBSCRIPTION, DELETE_SUBSCRIPTION, RESET_SUBSCRIPTION, VERSION};
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::command::Command;
use crate::ids::Revision;
use crate::subscription::SubscriptionName;

/// Makes one: name, where it begins, then the filter.
pub(super) fn encode_create(
    name: &SubscriptionName,
    filter: &[u8],
    after: Option<Revision>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&[VERSION, CREATE_SUBSCRIPTION]);
    name.encode(out);
    writer::optional(after.map(Revision::get), out);
    out.extend_from_slice(filter);
}

pub(super) fn encode_delete(name: &SubscriptionName, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, DELETE_SUBSCRIPTION]);
    name.encode(out);
}

pub(super) fn encode_ack(name: &SubscriptionName, upto: Revision, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, ACK_SUBSCRIPTION]);
    name.encode(out);
    writer::number(upto.get(), out);
}

pub(super) fn encode_reset(name: &SubscriptionName, after: Option<Revision>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, RESET_SUBSCRIPTION]);
    name.encode(out);
    writer::optional(after.map(Revision::get), out);
}

/// One of the four.
pub(super) fn decode(code: u8, reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, DecodeError> {
    let name = SubscriptionName::decode(reader)?;
    Ok(match code {
        CREATE_SUBSCRIPTION => Command::CreateSubscription {
            name,
            after: reader.optional()?.map(Revision::new),
            filter: whole.slice_ref(reader.rest()),
        },
        DELETE_SUBSCRIPTION => Command::DeleteSubscription { name },
        ACK_SUBSCRIPTION => Command::AckSubscription {
            name,
            upto: Revision::new(reader.number()?),
        },
        RESET_SUBSCRIPTION => Command::ResetSubscription {
            name,
            after: reader.optional()?.map(Revision::new),
        },
        _ => return Err(reader.error("unknown request about a subscription")),
    })
}
