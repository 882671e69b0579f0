//! Nodes that gossip over a network in memory, in paused time; and what others may try.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::limits::{
    GOSSIP_CONTACTS_MAX, GOSSIP_COOKIE_LIFE, GOSSIP_HEARD_FOR, GOSSIP_INTERVAL, GOSSIP_PACKET_BYTES,
};
use crate::testing::{node, secret};

fn at(number: u64) -> SocketAddr {
    SocketAddr::new([10, 0, 0, u8::try_from(number).unwrap()].into(), 4_200)
}

/// Node `number`, of a cluster or of none.
fn exchange(number: u64, cluster_id: Option<u128>) -> (Exchange, Arc<Mutex<PeerIdentity>>) {
    let identity = Arc::new(Mutex::new(PeerIdentity {
        cluster_id,
        ..node(number)
    }));
    let told = Arc::clone(&identity);
    let source: IdentitySource = Arc::new(move || *told.lock());
    let peer_address = format!("node-{number}:4100");
    let exchange = Exchange::new(source, secret(1), peer_address, Instant::now()).unwrap();
    (exchange, identity)
}

/// Delivers at once, in order. What goes to nobody is lost.
#[derive(Default)]
struct Web {
    nodes: BTreeMap<SocketAddr, Exchange>,
    sent: Vec<(SocketAddr, Outgoing)>,
    dropped: Vec<DropReason>,
}

impl Web {
    fn add(&mut self, number: u64, cluster_id: Option<u128>, seeds: &[u64]) {
        let (mut exchange, _) = exchange(number, cluster_id);
        exchange.meet(seeds.iter().map(|seed| at(*seed)), Instant::now());
        self.nodes.insert(at(number), exchange);
    }

    async fn rounds(&mut self, count: u32) {
        for _ in 0..count {
            tokio::time::advance(GOSSIP_INTERVAL).await;
            let mut queue = VecDeque::new();
            for (from, node) in &mut self.nodes {
                queue.extend(node.round(Instant::now()).into_iter().map(|out| (*from, out)));
            }
            while let Some((from, out)) = queue.pop_front() {
                self.sent.push((from, out));
                let Some(node) = self.nodes.get_mut(&out.0) else {
                    continue;
                };
                match node.handle(from, &out.1, Instant::now()) {
                    Ok(answer) => queue.extend(answer.map(|answer| (out.0, answer))),
                    Err(reason) => self.dropped.push(reason),
                }
            }
        }
    }

    fn members_known_to(&self, number: u64) -> Vec<(u128, u64)> {
        let members = self.nodes[&at(number)].members(Instant::now());
        let mut members: Vec<_> = members
            .into_iter()
            .map(|member| (member.cluster_id, member.node_id.get()))
            .collect();
        members.sort_unstable();
        members
    }
}

/// The contract: a node that knows one other hears of all members, though that one is no member itself.
#[tokio::test(start_paused = true)]
async fn a_node_that_knows_one_other_hears_of_all_members() {
    let mut web = Web::default();
    web.add(1, Some(7), &[]);
    web.add(2, Some(7), &[1]);
    web.add(3, None, &[2]);
    // It has found nobody yet, and knows just one that has found nobody either.
    web.add(4, None, &[3]);
    web.rounds(10).await;
    for number in [3, 4] {
        assert_eq!(web.members_known_to(number), [(7, 1), (7, 2)]);
    }
    let heard = web.nodes.values().map(|node| node.count_heard(Instant::now()));
    assert_eq!(heard.collect::<Vec<_>>(), [3, 3, 3, 3], "all hear each other");
    assert_eq!(web.dropped, []);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_silent_is_suggested_no_more() {
    let mut web = Web::default();
    web.add(1, Some(7), &[]);
    web.add(2, None, &[1]);
    web.rounds(3).await;
    assert_eq!(web.members_known_to(2), [(7, 1)]);
    web.nodes.remove(&at(1));
    let rounds = u32::try_from(GOSSIP_HEARD_FOR.as_secs()).unwrap() + 1;
    web.rounds(rounds).await;
    assert_eq!(web.members_known_to(2), []);
    web.rounds(1).await;
    assert_eq!(web.nodes[&at(2)].count_contacts(), 0, "and is forgotten");
}

/// Claim (I14): members of two clusters with one secret hear nothing of each other; who belongs to none hears of both,
/// and the engine makes it wait.
#[tokio::test(start_paused = true)]
async fn packets_of_another_cluster_are_dropped() {
    let mut web = Web::default();
    web.add(1, Some(7), &[2]);
    web.add(2, Some(8), &[1]);
    web.rounds(3).await;
    assert_eq!(web.members_known_to(1), []);
    assert_eq!(web.dropped, [DropReason::Cluster; 6]);
    web.add(3, None, &[1, 2]);
    web.dropped.clear();
    web.rounds(10).await;
    assert_eq!(web.members_known_to(3), [(7, 1), (8, 2)]);
    assert_eq!(web.members_known_to(1), []);
}

/// Claim: an answer that is sent again, or that nobody asked for, changes nothing.
#[tokio::test(start_paused = true)]
async fn replayed_answers_are_dropped() {
    let mut web = Web::default();
    web.add(1, Some(7), &[]);
    web.add(2, None, &[1]);
    web.rounds(1).await;
    let heard: Vec<_> = web
        .sent
        .iter()
        .filter(|(from, _)| *from == at(1))
        .copied()
        .collect();
    assert_eq!(heard.len(), 2, "a challenge and an answer");
    tokio::time::advance(GOSSIP_HEARD_FOR).await;
    let seeker = web.nodes.get_mut(&at(2)).unwrap();
    for (from, (_, packet)) in heard {
        let again = seeker.handle(from, &packet, Instant::now());
        assert_eq!(again, Err(DropReason::Unasked));
    }
    assert_eq!(web.members_known_to(2), []);
}

/// Claim: a question that somebody wrote down gets no answer elsewhere, makes nobody send more than came, and is good
/// for two minutes where it came from.
#[tokio::test(start_paused = true)]
async fn replayed_questions_are_answered_only_where_they_came_from_and_not_for_long() {
    let mut web = Web::default();
    web.add(1, Some(7), &[]);
    web.add(2, None, &[1]);
    web.rounds(1).await;
    let (_, (_, question)) = web
        .sent
        .iter()
        .rfind(|(from, _)| *from == at(2))
        .copied()
        .unwrap();
    let is_told = |member: &mut Exchange, from| {
        let (to, answer) = member.handle(from, &question, Instant::now()).unwrap().unwrap();
        assert_eq!((to, answer.len()), (from, GOSSIP_PACKET_BYTES));
        matches!(
            Packet::decode(&answer, &secret(1)).unwrap().body,
            Body::Tell { .. }
        )
    };
    let member = web.nodes.get_mut(&at(1)).unwrap();
    assert_eq!(member.count_contacts(), 1);
    assert!(is_told(member, at(2)));
    assert!(
        !is_told(member, at(66)),
        "a victim hears no more than was sent in its name"
    );
    assert_eq!(member.count_contacts(), 1, "and nobody asks it");
    for is_good in [true, false] {
        tokio::time::advance(GOSSIP_COOKIE_LIFE).await;
        member.round(Instant::now());
        assert_eq!(is_told(member, at(2)), is_good);
    }
}

#[tokio::test(start_paused = true)]
async fn packets_of_another_secret_change_nothing() {
    let mut web = Web::default();
    web.add(1, Some(7), &[]);
    web.add(2, None, &[1]);
    let stranger = web.nodes.get_mut(&at(2)).unwrap();
    stranger.secret = secret(2);
    web.rounds(1).await;
    assert_eq!(web.dropped, [DropReason::Proof]);
    assert_eq!(web.nodes[&at(1)].count_contacts(), 0);
    assert_eq!(web.members_known_to(2), []);
}

/// Claim: memory is bounded whatever the others tell, and those that answer are not pushed out by those that do not.
#[tokio::test(start_paused = true)]
async fn the_table_of_contacts_is_bounded() {
    let (mut node, _) = exchange(1, Some(7));
    let (mut other, _) = exchange(2, None);
    let now = Instant::now();
    node.meet([at(2)], now);
    let (_, question) = node.round(now)[0];
    let challenge = other.handle(at(1), &question, now).unwrap().unwrap().1;
    let (_, question) = node.handle(at(2), &challenge, now).unwrap().unwrap();
    let answer = other.handle(at(1), &question, now).unwrap().unwrap().1;
    node.handle(at(2), &answer, now).unwrap();
    assert_eq!(node.count_heard(now), 1);
    let crowd = |port| SocketAddr::new([10, 9, 9, 9].into(), port);
    node.meet((1..2_000).map(crowd), now);
    assert_eq!(node.count_contacts(), GOSSIP_CONTACTS_MAX);
    for port in 2_000..5_000 {
        node.meet([crowd(port)], now);
        node.round(now);
        assert!(node.count_contacts() <= GOSSIP_CONTACTS_MAX);
    }
    assert_eq!(node.count_heard(now), 1);
    for nowhere in ["0.0.0.0:1", "224.0.0.1:1", "10.1.1.1:0", "[::]:1"] {
        let count = node.count_contacts();
        node.meet([nowhere.parse().unwrap()], now);
        assert_eq!(node.count_contacts(), count, "{nowhere}");
    }
}

/// Claim: two nodes between which addresses change with each packet do not challenge each other without end.
#[tokio::test(start_paused = true)]
async fn a_challenge_is_followed_once_a_round() {
    let (mut node, _) = exchange(1, None);
    let (mut other, _) = exchange(2, None);
    let now = Instant::now();
    node.meet([at(2)], now);
    let mut question = node.round(now).pop();
    let mut asked = 0;
    while let Some((_, packet)) = question {
        asked += 1;
        let (_, challenge) = other.handle(at(100 + asked), &packet, now).unwrap().unwrap();
        question = node.handle(at(2), &challenge, now).unwrap();
    }
    assert_eq!(asked, 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(node.round(Instant::now()).len(), 1, "and again in the next");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_its_own_seed_does_not_hear_of_itself() {
    let mut web = Web::default();
    web.add(1, Some(7), &[1]);
    web.rounds(3).await;
    assert_eq!(web.members_known_to(1), []);
    assert_eq!(web.dropped, []);
}

/// A node that comes to belong to a cluster says so from then on.
#[tokio::test(start_paused = true)]
async fn what_a_node_says_of_itself_is_of_now() {
    let mut web = Web::default();
    let (newcomer, identity) = exchange(1, None);
    web.nodes.insert(at(1), newcomer);
    web.add(2, None, &[1]);
    web.rounds(2).await;
    assert_eq!(web.members_known_to(2), []);
    identity.lock().cluster_id = Some(7);
    web.rounds(2).await;
    assert_eq!(web.members_known_to(2), [(7, 1)]);
}
