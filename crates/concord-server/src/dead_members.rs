//! Members that are gone for good are removed, where that is asked for.
//!
//! The leader looks now and then who has been silent for how long. It removes one member, the one that is silent for
//! longest, and then none for as long again: what makes many silent at once is more often the network than their end.
//! A voter goes only if three others are left and most of those answer, so a cluster of three waits for the new node
//! that takes the dead one's place. Whether the rest has a quorum is judged once more where members are removed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use concord_core::ids::{NodeId, Term};
use concord_raft::{MemberStatus, StopReason};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::concord::{Concord, WeakConcord};

/// So many voters are left at least.
const VOTERS_MIN: usize = 3;
/// Looks within the time that a member may be silent.
const LOOKS: u32 = 4;

/// How many were removed.
#[derive(Debug, Default)]
pub(crate) struct Removals(AtomicU64);

impl Removals {
    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Since the node started.
    #[cfg(feature = "http")]
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Begins to look, until the node stops, if members are to be removed at all.
pub(crate) fn watch(concord: &Concord, after: Option<Duration>) {
    let Some(after) = after else {
        return;
    };
    // Weak: a node that nobody else has stops.
    tokio::spawn(run(
        concord.downgrade(),
        concord.service().node().stopped(),
        after,
    ));
}

async fn run(node: WeakConcord, mut stopped: watch::Receiver<Option<StopReason>>, after: Duration) {
    let mut listening = Listening::default();
    loop {
        tokio::select! {
            biased; // an order to stop goes first
            _ = stopped.wait_for(Option::is_some) => return,
            () = tokio::time::sleep(after / LOOKS) => {}
        }
        let Some(concord) = node.upgrade() else {
            return;
        };
        let status = concord.service().node().status();
        if status.leader != Some(status.node_id) {
            listening = Listening::default();
            continue;
        }
        if listening.since(status.term, Instant::now()).elapsed() < after {
            continue;
        }
        let Some(dead) = dead_member(&status.members, status.node_id, after) else {
            continue;
        };
        tracing::warn!(member = %dead, ?after, "a member was silent for too long: it is removed");
        match concord.remove_member(dead.get()).await {
            Ok(()) => concord.service().removals().note(),
            Err(error) => tracing::warn!(%error, member = %dead, "the silent member is not removed"),
        }
        listening = Listening::default();
    }
}

/// Since when this node leads, as far as it has looked. Nobody can be called silent by a leader that has not listened for as
/// long; leadership that was lost and won again between two looks has listened only since.
#[derive(Debug, Default)]
struct Listening(Option<(Term, Instant)>);

impl Listening {
    fn since(&mut self, term: Term, now: Instant) -> Instant {
        let since = match self.0 {
            Some((led, since)) if led == term => since,
            _ => now,
        };
        self.0 = Some((term, since));
        since
    }
}

/// The member that is to go, if one is: never the one that asks.
fn dead_member(members: &[MemberStatus], own: NodeId, after: Duration) -> Option<NodeId> {
    let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    // Who never answered this leader has been silent since it leads, which is long enough.
    let silence = |member: &MemberStatus| member.silent_ms.unwrap_or(u64::MAX);
    let is_dead = |member: &&MemberStatus| member.node_id != own && silence(member) >= after;
    let may_go = |member: &&MemberStatus| {
        if !member.voter {
            return true;
        }
        let others = || {
            members
                .iter()
                .filter(|other| other.voter && other.node_id != member.node_id)
        };
        let alive = others().filter(|other| !is_dead(other)).count();
        others().count() >= VOTERS_MIN && alive.saturating_mul(2) > others().count()
    };
    let dead = members.iter().filter(is_dead).filter(may_go);
    dead.max_by_key(|member| silence(member))
        .map(|member| member.node_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(60);

    /// Members from 1: whether each votes, and since when it is silent.
    fn members(seats: &[(bool, Option<u64>)]) -> Vec<MemberStatus> {
        let seat = |(id, &(voter, silent_s)): (u64, &(bool, Option<u64>))| {
            let silent_ms = silent_s.map(|seconds| seconds * 1_000);
            MemberStatus::seat(NodeId::new(id), voter, silent_ms)
        };
        (1..).zip(seats).map(seat).collect()
    }

    fn dead(seats: &[(bool, Option<u64>)]) -> Option<u64> {
        dead_member(&members(seats), NodeId::new(1), AFTER).map(NodeId::get)
    }

    #[test]
    fn a_leader_listens_anew_in_each_term() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut listening = Listening::default();
        assert_eq!(listening.since(Term::new(3), began), began);
        assert_eq!(listening.since(Term::new(3), at(40)), began);
        assert_eq!(
            listening.since(Term::new(5), at(80)),
            at(80),
            "it did not lead meanwhile"
        );
        assert_eq!(listening.since(Term::new(5), at(90)), at(80));
    }

    #[test]
    fn nobody_goes_before_their_time_and_never_the_leader_itself() {
        let voters = [(true, None), (true, Some(59)), (true, Some(0)), (true, Some(1))];
        assert_eq!(dead(&voters), None);
        assert_eq!(dead(&[(true, None)]), None);
    }

    #[test]
    fn the_one_that_is_silent_for_longest_goes() {
        let voters = [
            (true, None),
            (true, Some(60)),
            (true, Some(90)),
            (true, Some(0)),
            (true, Some(0)),
        ];
        assert_eq!(dead(&voters), Some(3));
        let unheard = [
            (true, None),
            (true, Some(60)),
            (true, None),
            (true, Some(0)),
            (true, Some(0)),
        ];
        assert_eq!(dead(&unheard), Some(3), "never heard of");
    }

    #[test]
    fn a_cluster_of_three_waits_for_the_node_that_takes_the_place() {
        assert_eq!(dead(&[(true, None), (true, Some(999)), (true, Some(0))]), None);
        let learning = [(true, None), (true, Some(999)), (true, Some(0)), (false, Some(0))];
        assert_eq!(dead(&learning), None, "it does not vote yet");
        let replaced = [(true, None), (true, Some(999)), (true, Some(0)), (true, Some(0))];
        assert_eq!(dead(&replaced), Some(2));
    }

    #[test]
    fn nobody_goes_if_the_rest_would_have_no_quorum() {
        let most_dead = [
            (true, None),
            (true, Some(99)),
            (true, Some(99)),
            (true, Some(99)),
            (true, Some(0)),
        ];
        assert_eq!(dead(&most_dead), None);
    }

    #[test]
    fn a_learner_decides_nothing_and_may_always_go() {
        assert_eq!(dead(&[(true, None), (false, Some(60))]), Some(2));
    }
}
