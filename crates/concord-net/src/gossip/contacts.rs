//! Whom this node gossips with: a bounded table by address. Leaves packets to `exchange`.
//!
//! An address gets into it as a seed, because it asked with a valid cookie, or because a contact told of it. That alone
//! makes it worth a question, and no more: what is known of a node is what it answered from there itself.

use std::collections::HashMap;
use std::net::SocketAddr;

use concord_raft::ports::{PeerIdentity, Suggestion};
use tokio::time::Instant;

use super::packet::{Cookie, Question};
use crate::limits::{
    GOSSIP_ASKED_MIN, GOSSIP_CONTACTS_MAX, GOSSIP_CONTACTS_TOLD_MAX, GOSSIP_HEARD_FOR, GOSSIP_INTERVAL,
    GOSSIP_UNANSWERED_MAX,
};

/// Rounds after which each contact was asked.
const ROUNDS_FOR_ALL: usize = 10;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    by_address: HashMap<SocketAddr, Contact>,
}

#[derive(Debug, Default)]
struct Contact {
    /// What it gave to this node.
    cookie: Cookie,
    /// The question that is open.
    question: Option<Question>,
    asked_at: Option<Instant>,
    /// Questions since its last answer.
    unanswered: u32,
    /// Whether it has been asked again since its turn came, because it wanted another cookie.
    is_asked_again: bool,
    heard: Option<Heard>,
}

/// What a contact has said of itself.
#[derive(Debug)]
struct Heard {
    at: Instant,
    node: PeerIdentity,
    peer_address: String,
}

/// What a challenge leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenged {
    /// Nobody was asked that.
    Unasked,
    /// Its cookie is shown when its turn comes.
    Later,
    /// It is to be asked again.
    Again(SocketAddr),
}

impl Contact {
    fn heard_lately(&self, now: Instant) -> Option<&Heard> {
        self.heard
            .as_ref()
            .filter(|heard| now.duration_since(heard.at) < GOSSIP_HEARD_FOR)
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.unanswered >= GOSSIP_UNANSWERED_MAX && self.heard_lately(now).is_none()
    }
}

impl Contacts {
    /// Remembers an address if there is room, or a contact that has not answered to make room. Unspecified addresses and
    /// ports are nowhere, and multicast is everywhere.
    pub(super) fn meet(&mut self, address: SocketAddr, now: Instant) {
        let (ip, is_known) = (address.ip(), self.by_address.contains_key(&address));
        if is_known || ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
            return;
        }
        if self.by_address.len() >= GOSSIP_CONTACTS_MAX {
            let silent = self
                .by_address
                .iter()
                .filter(|(_, contact)| contact.unanswered > 0 && contact.heard_lately(now).is_none())
                .max_by_key(|(_, contact)| contact.unanswered)
                .map(|(address, _)| *address);
            let Some(silent) = silent else { return };
            self.by_address.remove(&silent);
        }
        self.by_address.insert(address, Contact::default());
    }

    /// Whom to ask in this round: those that wait longest, but for those whose answer may be on its way. Forgets those that
    /// answer nothing.
    pub(super) fn due(&mut self, now: Instant) -> Vec<SocketAddr> {
        self.by_address.retain(|_, contact| !contact.is_dead(now));
        let is_old = |at: Instant| now.duration_since(at) >= GOSSIP_INTERVAL / 2;
        let mut due: Vec<_> = self
            .by_address
            .iter()
            .filter(|(_, contact)| contact.asked_at.is_none_or(is_old))
            .map(|(address, contact)| (contact.asked_at, *address))
            .collect();
        due.sort_unstable();
        due.truncate(GOSSIP_ASKED_MIN.max(self.by_address.len().div_ceil(ROUNDS_FOR_ALL)));
        let due: Vec<_> = due.into_iter().map(|(_, address)| address).collect();
        for address in &due {
            if let Some(contact) = self.by_address.get_mut(address) {
                contact.is_asked_again = false;
            }
        }
        due
    }

    /// Opens a question to a contact; an older one counts no more. Gives the cookie to show.
    pub(super) fn ask(&mut self, address: SocketAddr, question: Question, now: Instant) -> Option<Cookie> {
        let contact = self.by_address.get_mut(&address)?;
        contact.question = Some(question);
        contact.asked_at = Some(now);
        contact.unanswered = contact.unanswered.saturating_add(1);
        Some(contact.cookie)
    }

    /// Who was asked this. The question is closed.
    fn close(&mut self, question: &Question) -> Option<(SocketAddr, &mut Contact)> {
        let (address, contact) = self
            .by_address
            .iter_mut()
            .find(|(_, contact)| contact.question.as_ref() == Some(question))?;
        contact.question = None;
        Some((*address, contact))
    }

    /// Takes a cookie that answers a question.
    pub(super) fn challenged(&mut self, question: &Question, cookie: Cookie) -> Challenged {
        let Some((address, contact)) = self.close(question) else {
            return Challenged::Unasked;
        };
        contact.cookie = cookie;
        // Between two whose addresses change on the way this would never end.
        if std::mem::replace(&mut contact.is_asked_again, true) {
            return Challenged::Later;
        }
        Challenged::Again(address)
    }

    /// Takes an answer in. Says whether anything was asked.
    pub(super) fn answered(
        &mut self,
        question: &Question,
        node: PeerIdentity,
        peer_address: String,
        now: Instant,
    ) -> bool {
        let Some((_, contact)) = self.close(question) else {
            return false;
        };
        contact.unanswered = 0;
        contact.heard = Some(Heard {
            at: now,
            node,
            peer_address,
        });
        true
    }

    /// Whom to tell `asker`, which asks from an address, about: others that have answered lately and are not of another
    /// cluster, the latest first.
    pub(super) fn told_to(&self, asker: &PeerIdentity, from: SocketAddr, now: Instant) -> Vec<SocketAddr> {
        let is_fit = |node: &PeerIdentity| match (node.cluster_id, asker.cluster_id) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        let heard = self
            .heard_lately(now)
            .filter(|(address, heard)| *address != from && is_fit(&heard.node));
        heard
            .map(|(address, _)| address)
            .take(GOSSIP_CONTACTS_TOLD_MAX)
            .collect()
    }

    /// The members of clusters among those that have answered lately, the latest first.
    pub(super) fn members(&self, now: Instant) -> Vec<Suggestion> {
        let member = |heard: &Heard| {
            let cluster_id = heard.node.cluster_id?;
            (!heard.peer_address.is_empty()).then(|| Suggestion {
                cluster_id,
                node_id: heard.node.node_id,
                address: heard.peer_address.clone(),
            })
        };
        let mut members: Vec<Suggestion> = Vec::new();
        for found in self.heard_lately(now).filter_map(|(_, heard)| member(heard)) {
            // One node may be reached at several addresses.
            if !members.contains(&found) {
                members.push(found);
            }
        }
        members
    }

    /// How many have answered lately.
    pub(super) fn count_heard(&self, now: Instant) -> usize {
        self.heard_lately(now).count()
    }

    fn heard_lately(&self, now: Instant) -> impl Iterator<Item = (SocketAddr, &Heard)> {
        let heard = self
            .by_address
            .iter()
            .filter_map(move |(address, contact)| Some((*address, contact.heard_lately(now)?)));
        let mut heard: Vec<_> = heard.collect();
        heard.sort_unstable_by_key(|(address, heard)| (std::cmp::Reverse(heard.at), *address));
        heard.into_iter()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }
}
