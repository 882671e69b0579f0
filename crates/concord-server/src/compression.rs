//! Which values are kept packed, and where the work is done: once, on the node that takes the
//! request, before anything is replicated. How they are packed is [`concord_core::value`]'s.

use bytes::Bytes;
use concord_core::command::Command;
use concord_core::reply::Reply;
use concord_core::value::{CorruptValue, StoredValue};

use crate::config::CompressionConfig;
use crate::error::{Error, ErrorKind};
use crate::limits::PACK_INLINE_BYTES;

/// What becomes of the values of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// What the node's settings say.
    Configured,
    /// Packed, however small, if that makes them smaller.
    Forced,
    /// Kept as they are.
    Skipped,
}

impl From<Option<bool>> for Packing {
    /// What a request says, if it says anything.
    fn from(compress: Option<bool>) -> Self {
        match compress {
            None => Self::Configured,
            Some(true) => Self::Forced,
            Some(false) => Self::Skipped,
        }
    }
}

/// The encoded command with its values packed as they should be. Long work is not done here but on a thread for it.
pub(crate) async fn encode(
    config: CompressionConfig,
    packing: Packing,
    mut command: Command,
) -> Result<Bytes, Error> {
    let Some(bytes_min) = threshold(config, packing) else {
        return Ok(command.to_bytes());
    };
    let mut work = 0_usize;
    command.each_value(&mut |value| work = work.saturating_add(work_of(value, bytes_min)));
    if work == 0 {
        return Ok(command.to_bytes());
    }
    let mut pack = move || {
        command.each_value(&mut |value| {
            if work_of(value, bytes_min) > 0 {
                value.pack(config.level);
            }
        });
        command.to_bytes()
    };
    if work <= PACK_INLINE_BYTES {
        return Ok(pack());
    }
    off_the_workers(pack).await
}

/// The smallest value to be packed, if any is.
const fn threshold(config: CompressionConfig, packing: Packing) -> Option<usize> {
    match packing {
        Packing::Skipped => None,
        Packing::Forced => Some(1),
        Packing::Configured if config.enabled => Some(config.threshold_bytes),
        Packing::Configured => None,
    }
}

fn work_of(value: &StoredValue, bytes_min: usize) -> usize {
    let bytes = value.bytes().len();
    if value.is_packed() || bytes < bytes_min {
        0
    } else {
        bytes
    }
}

/// A reply whose records have their values themselves.
pub(crate) async fn unpacked(mut reply: Reply) -> Result<Reply, Error> {
    let bytes = reply.packed_raw_bytes();
    if bytes == 0 {
        return Ok(reply);
    }
    let unpack = move || {
        let outcome = reply.unpack();
        (reply, outcome)
    };
    let (reply, outcome) = if bytes <= PACK_INLINE_BYTES {
        unpack()
    } else {
        off_the_workers(unpack).await?
    };
    match (outcome, &reply) {
        (Ok(()), _) => Ok(reply),
        (Err(damage), Reply::Rejected(_)) => Err(damage.into()),
        // The write happened; what it replaced cannot be shown.
        (Err(damage), _) => Err(Error::new(ErrorKind::OutcomeUnknown, damage.to_string())),
    }
}

/// Runs what takes long on a thread where nothing else waits for it.
pub(crate) async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::new(ErrorKind::ShuttingDown, "the runtime is shutting down"))
}

impl From<CorruptValue> for Error {
    fn from(damage: CorruptValue) -> Self {
        Self::new(ErrorKind::Corrupt, damage.to_string())
    }
}
