//! Gossip beside a node: it tells where the node is, and whom the node may ask to let it in.

use concord_net::gossip::{Gossip, GossipConfig};
use concord_net::{ClusterSecret, IdentitySource};

use super::OpenError;
use crate::config::GossipSettings;

/// Begins to gossip for the node that peers reach at `peer_address`.
pub(super) async fn start(
    settings: &GossipSettings,
    peer_address: &str,
    identity: IdentitySource,
    secret: ClusterSecret,
) -> Result<Gossip, OpenError> {
    let config = GossipConfig {
        listen: settings.listen.clone(),
        seeds: settings.seeds.clone(),
        peer_address: peer_address.to_owned(),
    };
    let started = Gossip::start(config, identity, secret).await;
    started.map_err(|error| OpenError::Listen {
        purpose: "gossip",
        address: error.address,
        source: error.source,
    })
}
