//! Gossip in the configuration: on only if it is asked for, and never without a secret of the operator's.

use std::collections::BTreeMap;

use super::error::{ConfigError, Place};
use super::{PeerConfig, Start};
use crate::limits;

/// Gossip over UDP, by which nodes that look for a cluster find one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GossipSettings {
    /// `host:port` to gossip at; port 0 takes a free one.
    pub listen: String,
    /// `host:port` of others that gossip, this node perhaps among them. Names are resolved again and again, and each address of one
    /// is asked.
    pub seeds: Vec<String>,
}

/// What all layers said together; `None` where none did.
#[derive(Debug, Default)]
pub(super) struct GossipDraft {
    pub(super) listen: Option<String>,
    pub(super) seeds: Option<Vec<String>>,
}

/// Puts the settings together; refuses what would have no effect.
pub(super) fn build(
    draft: GossipDraft,
    places: &BTreeMap<&'static str, Place>,
) -> Result<Option<GossipSettings>, ConfigError> {
    let Some(listen) = draft.listen else {
        let reason = "has no effect without";
        super::load::unused(places, "peers.gossip.", "peers.gossip.listen", reason)?;
        return Ok(None);
    };
    Ok(Some(GossipSettings {
        listen,
        seeds: draft.seeds.unwrap_or_default(),
    }))
}

pub(super) fn check(peers: &PeerConfig) -> Result<(), ConfigError> {
    let Some(gossip) = &peers.gossip else {
        if peers.start == Start::Discover {
            let (key, other) = ("peers.discover", "peers.gossip.listen");
            return Err(ConfigError::contradiction(key, "has no effect without", other));
        }
        return Ok(());
    };
    super::check::check_address("peers.gossip.listen", &gossip.listen)?;
    // The development secret proves nothing, and packets come from anywhere.
    if peers.secret.is_none() {
        let reason =
            "needs a cluster secret, which proves the packets: set `peers.secret` or `peers.secret_file`";
        return Err(ConfigError::invalid("peers.gossip.listen", reason));
    }
    if gossip.seeds.len() > limits::SEEDS_MAX {
        return Err(ConfigError::invalid(
            "peers.gossip.seeds",
            "must list 16 addresses at most",
        ));
    }
    for (position, seed) in gossip.seeds.iter().enumerate() {
        super::check::check_reachable("peers.gossip.seeds", seed)?;
        if gossip.seeds.iter().take(position).any(|earlier| earlier == seed) {
            return Err(ConfigError::invalid(
                "peers.gossip.seeds",
                format!("lists {seed} twice"),
            ));
        }
    }
    Ok(())
}
