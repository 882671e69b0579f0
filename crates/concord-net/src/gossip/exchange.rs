//! What a node says to whom, without a socket and without a clock of its own.
//!
//! ```text
//!   asks            is asked
//!    │ ask, cookie 0   │
//!    │ ──────────────▶ │  it may come from anywhere
//!    │ ◀── challenge   │  a cookie, good for that address
//!    │ ask, cookie ──▶ │  the asker is worth a question too
//!    │ ◀──────── tell  │  who I am, my cluster, my peer address, whom I hear
//! ```
//!
//! Nothing is believed but an answer to an open question of its own, and of that only what the sender says of itself;
//! the contacts that it tells of are asked themselves. No clocks are compared.

use std::net::SocketAddr;

use concord_raft::ports::{PeerIdentity, Suggestion};
use tokio::time::Instant;

use super::contacts::{Challenged, Contacts};
use super::cookies::Cookies;
use super::packet::{Body, Datagram, Packet, Question};
use super::stats::DropReason;
use crate::dialer::IdentitySource;
use crate::proof::ClusterSecret;

/// A packet and where it goes.
pub(super) type Outgoing = (SocketAddr, Datagram);

/// One node's part.
pub(super) struct Exchange {
    identity: IdentitySource,
    secret: ClusterSecret,
    /// Where peers reach this node.
    peer_address: String,
    contacts: Contacts,
    cookies: Cookies,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("identity", &(self.identity)())
            .field("contacts", &self.contacts)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) fn new(
        identity: IdentitySource,
        secret: ClusterSecret,
        peer_address: String,
        now: Instant,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            identity,
            secret,
            peer_address,
            contacts: Contacts::default(),
            cookies: Cookies::new(now)?,
        })
    }

    /// Remembers where somebody may gossip.
    pub(super) fn meet(&mut self, addresses: impl IntoIterator<Item = SocketAddr>, now: Instant) {
        for address in addresses {
            self.contacts.meet(canonical(address), now);
        }
    }

    /// The questions of one round.
    pub(super) fn round(&mut self, now: Instant) -> Vec<Outgoing> {
        self.cookies.renew(now);
        let due = self.contacts.due(now);
        due.into_iter()
            .filter_map(|address| self.ask(address, now))
            .collect()
    }

    /// Takes a packet in, from whoever; gives the one that answers it.
    pub(super) fn handle(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Option<Outgoing>, DropReason> {
        let from = canonical(from);
        let packet = Packet::decode(bytes, &self.secret)?;
        let own = (self.identity)();
        if is_same_node(&packet.sender, &own) {
            // It has asked itself: a list of seeds may be the same on all nodes.
            return Ok(None);
        }
        if let (Some(one), Some(other)) = (packet.sender.cluster_id, own.cluster_id)
            && one != other
        {
            return Err(DropReason::Cluster);
        }
        match packet.body {
            Body::Ask { cookie } => {
                let body = if self.cookies.accepts(&cookie, from) {
                    self.contacts.meet(from, now);
                    Body::Tell {
                        peer_address: self.peer_address.clone(),
                        contacts: self.contacts.told_to(&packet.sender, from, now),
                    }
                } else {
                    Body::Challenge {
                        cookie: self.cookies.give(from),
                    }
                };
                Ok(Some((from, self.packet(packet.question, body))))
            }
            Body::Challenge { cookie } => match self.contacts.challenged(&packet.question, cookie) {
                Challenged::Unasked => Err(DropReason::Unasked),
                Challenged::Later => Ok(None),
                Challenged::Again(address) => Ok(self.ask(address, now)),
            },
            Body::Tell {
                peer_address,
                contacts,
            } => {
                let is_answer = self
                    .contacts
                    .answered(&packet.question, packet.sender, peer_address, now);
                if !is_answer {
                    return Err(DropReason::Unasked);
                }
                self.meet(contacts, now);
                Ok(None)
            }
        }
    }

    /// The members that have answered lately.
    pub(super) fn members(&self, now: Instant) -> Vec<Suggestion> {
        self.contacts.members(now)
    }

    /// How many nodes have answered lately.
    pub(super) fn count_heard(&self, now: Instant) -> usize {
        self.contacts.count_heard(now)
    }

    /// A question; none without randomness, for it could be guessed.
    fn ask(&mut self, address: SocketAddr, now: Instant) -> Option<Outgoing> {
        let mut question = Question::default();
        getrandom::fill(&mut question).ok()?;
        let cookie = self.contacts.ask(address, question, now)?;
        Some((address, self.packet(question, Body::Ask { cookie })))
    }

    fn packet(&self, question: Question, body: Body) -> Datagram {
        let packet = Packet {
            sender: (self.identity)(),
            question,
            body,
        };
        packet.encode(&self.secret)
    }

    #[cfg(test)]
    pub(super) fn count_contacts(&self) -> usize {
        self.contacts.len()
    }
}

fn is_same_node(one: &PeerIdentity, other: &PeerIdentity) -> bool {
    (one.node_id, one.store_id) == (other.node_id, other.store_id)
}

/// An IPv4 address that came through a socket for IPv6 is the same address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
