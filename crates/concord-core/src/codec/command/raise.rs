//! The request that raises the version of the state. Nobody's interface takes one: leaders make it.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{GUARDED, IDEMPOTENT, RAISE_VERSION, TRACED, VERSION, trace};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::policy::Guard;
use crate::version::{ClusterVersion, MachineVersion};

/// Version that it needs, and kind. A machine of the version before reads it too: it must know where to stop.
const HEAD: [u8; 2] = [MachineVersion::KEEPS_VERSION.get(), RAISE_VERSION];

pub(crate) fn encode(to: ClusterVersion) -> Bytes {
    let mut out = Vec::with_capacity(8);
    out.extend_from_slice(&HEAD);
    to.encode(&mut out);
    Bytes::from(out)
}

/// To what a request raises the version, if it does.
pub(crate) fn decode(request: &Bytes) -> Result<Option<ClusterVersion>, DecodeError> {
    if !request.starts_with(&HEAD) {
        return Ok(None);
    }
    let mut reader = Reader::new(request);
    reader.take(HEAD.len())?;
    let to = ClusterVersion::decode(&mut reader)?;
    reader.end()?;
    Ok(Some(to))
}

/// The version that an encoded request needs: that of what is behind its trace, its guard and its idempotency key.
/// What cannot be read needs none, and is refused where it is applied.
pub(crate) fn needs(request: &Bytes) -> MachineVersion {
    if !is_wrapped(request) {
        return plain(request);
    }
    let mut request = request.clone();
    for _ in 0..WRAPPERS_MAX {
        match inner(&request) {
            Some(inner) => request = inner,
            None => return MachineVersion::BASE,
        }
        if !is_wrapped(&request) {
            return plain(&request);
        }
    }
    MachineVersion::BASE
}

/// A trace, a guard, an idempotency key; none of them is there twice.
const WRAPPERS_MAX: usize = 3;

fn is_wrapped(request: &[u8]) -> bool {
    matches!(request, [VERSION, TRACED | GUARDED | IDEMPOTENT, ..])
}

fn plain(request: &[u8]) -> MachineVersion {
    match request {
        // Every machine that keeps a version reads it, to know where to stop.
        [version, kind, ..] if [*version, *kind] == HEAD => MachineVersion::BASE,
        [version, ..] => MachineVersion::new(*version),
        [] => MachineVersion::BASE,
    }
}

fn inner(request: &Bytes) -> Option<Bytes> {
    match request.get(1) {
        Some(&TRACED) => request
            .get(trace::HEAD_BYTES..)
            .map(|rest| request.slice_ref(rest)),
        Some(&IDEMPOTENT) => {
            let mut reader = Reader::new(request);
            reader.take(3).ok()?;
            reader.bytes().ok()?;
            Some(request.slice_ref(reader.rest()))
        }
        _ => Guard::take_off(request).ok()?.map(|(_, inner)| inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::IdempotencyKey;
    use crate::ids::Revision;
    use crate::policy::PrincipalId;
    use crate::trace::TraceContext;
    use crate::{Command, Key};
    use alloc::boxed::Box;

    #[test]
    fn it_reads_back_and_nothing_shorter_does() {
        let to = ClusterVersion::known(MachineVersion::NEWEST).unwrap();
        let bytes = to.raise();
        assert_eq!(decode(&bytes), Ok(Some(to)));
        for cut in 2..bytes.len() {
            assert!(decode(&bytes.slice(..cut)).is_err(), "{cut}");
        }
        assert_eq!(decode(&Bytes::from_static(&[1, 5, 1])), Ok(None));
    }

    #[test]
    fn what_a_request_needs_is_seen_through_what_it_is_wrapped_in() {
        let plain = Command::Compact {
            revision: Revision::new(7),
        };
        assert_eq!(needs(&plain.to_bytes()), MachineVersion::BASE);
        let delete = Command::Delete {
            key: Key::copy_of(b"k").unwrap(),
            condition: None,
            return_previous: false,
        };
        let delete_len = delete.to_bytes().len();
        let once = Command::Idempotent {
            key: IdempotencyKey::new(Bytes::from_static(b"name")).unwrap(),
            command: Box::new(delete),
        };
        let guard = Guard {
            policy_revision: 300,
            expires_at: None,
            principal: PrincipalId::new(b"somebody").unwrap(),
            is_confined: true,
            tenant: Some(Bytes::from_static(b"tenant:")),
        };
        let guarded = Command::Guarded {
            guard,
            command: Box::new(once),
        };
        let mut traced = Vec::new();
        trace::encode_head(TraceContext::new(7, 9).unwrap(), &mut traced);
        guarded.encode(&mut traced);
        assert_eq!(needs(&Bytes::from(traced.clone())), MachineVersion::BASE);
        // The innermost request, of a version to come.
        let at = traced.len() - delete_len;
        traced[at] = 9;
        assert_eq!(needs(&Bytes::from(traced)), MachineVersion::new(9));
    }
}
