//! The transport of a node that has no peers and no listener for any.

use std::time::Duration;

use bytes::Bytes;
use concord_raft::ports::{Duplex, Lane, PeerAddress, Transport, TransportError};
use futures::future::{self, BoxFuture, FutureExt as _};

/// Reaches nobody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lonely;

impl Lonely {
    fn unreachable(peer: &PeerAddress) -> TransportError {
        TransportError::Unreachable {
            address: peer.address.clone(),
            reason: "this node has no peer listener configured".to_owned(),
        }
    }
}

impl Transport for Lonely {
    fn call(
        &self,
        peer: &PeerAddress,
        _: Lane,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        future::ready(Err(Self::unreachable(peer))).boxed()
    }

    fn open(&self, peer: &PeerAddress, _: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        future::ready(Err(Self::unreachable(peer))).boxed()
    }
}
