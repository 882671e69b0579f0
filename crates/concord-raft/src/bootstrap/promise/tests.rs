//! What a node may promise, and that no order of events lets two clusters share a member.

use std::collections::{BTreeMap, BTreeSet};

use concord_core::ids::NodeId;
use proptest::prelude::*;

use super::*;
use crate::types::Peer;

fn seat(id: u64, address: &str) -> Seat {
    Seat {
        node_id: NodeId::new(id),
        peer: Peer {
            address: address.to_owned(),
            store_id: u128::from(id) * 100,
        },
    }
}

fn promise(round: u64, cluster_id: u128, members: &[Seat]) -> PromiseRequest {
    PromiseRequest {
        initiator: members[0].node_id,
        round,
        cluster_id,
        members: members.to_vec(),
    }
}

struct Case {
    seat: Seat,
    seeds: Vec<String>,
    members: Vec<Seat>,
}

fn case() -> Case {
    let members = vec![seat(1, "a:1"), seat(2, "b:1"), seat(3, "c:1")];
    Case {
        seat: members[1].clone(),
        seeds: addresses(&members),
        members,
    }
}

impl Case {
    fn judge(&self, held: Option<&PromiseRequest>, asked: &PromiseRequest) -> Result<Verdict, Refusal> {
        let candidate = Candidate {
            seat: &self.seat,
            cluster_id: None,
            seeds: Some(&self.seeds),
            held,
        };
        judge(&candidate, asked)
    }
}

#[test]
fn the_same_promise_can_be_given_again() {
    let case = case();
    let asked = promise(1, 7, &case.members);
    assert_eq!(case.judge(None, &asked), Ok(Verdict::New));
    assert_eq!(case.judge(Some(&asked), &asked), Ok(Verdict::Known));
}

#[test]
fn a_later_round_of_the_same_initiator_replaces_an_earlier_one() {
    let case = case();
    let (first, second) = (promise(1, 7, &case.members), promise(2, 8, &case.members));
    assert_eq!(case.judge(Some(&first), &second), Ok(Verdict::New));
    assert!(case.judge(Some(&second), &first).is_err());
}

#[test]
fn a_wiped_initiator_does_not_get_the_promise_of_its_former_self() {
    let case = case();
    let first = promise(1, 7, &case.members);
    let mut members = case.members.clone();
    members[0].peer.store_id = 999;
    let refusal = case.judge(Some(&first), &promise(9, 8, &members)).unwrap_err();
    assert!(!refusal.retry, "an operator must act");
    assert!(
        refusal.reason.contains("has promised itself to node 1"),
        "{refusal}"
    );
}

/// The reason that is expected, and what to break for it.
type Breakage = (&'static str, fn(&mut PromiseRequest));

#[test]
fn contradictions_are_refused_with_their_reason() {
    let case = case();
    let good = promise(1, 7, &case.members);
    let breakages: [Breakage; 6] = [
        ("started with the seeds", |p| {
            p.members[2].peer.address = "d:1".to_owned()
        }),
        ("both have node id 1", |p| p.members[2].node_id = NodeId::new(1)),
        ("named twice", |p| p.members[2].peer.address = "a:1".to_owned()),
        ("copies of one data directory", |p| {
            p.members[2].peer.store_id = 100
        }),
        ("not what the initiator takes it for", |p| {
            p.members[1].peer.store_id = 5
        }),
        ("only the first seed", |p| p.initiator = NodeId::new(3)),
    ];
    for (reason, breakage) in breakages {
        let mut asked = good.clone();
        breakage(&mut asked);
        let refusal = case.judge(None, &asked).unwrap_err();
        assert!(refusal.reason.contains(reason), "{refusal}");
    }
    let elsewhere = Candidate {
        seat: &case.seat,
        cluster_id: Some(3),
        seeds: Some(&case.seeds),
        held: None,
    };
    assert!(
        judge(&elsewhere, &good)
            .unwrap_err()
            .reason
            .contains("belongs to cluster")
    );
    let unready = Candidate {
        seat: &case.seat,
        cluster_id: None,
        seeds: None,
        held: None,
    };
    assert!(judge(&unready, &good).unwrap_err().retry);
}

/// One thing that can happen while nodes start.
#[derive(Clone, Debug)]
enum Step {
    /// A node looks at the seeds and promises itself as the initiator.
    Initiate(usize),
    /// The initiator's latest promise reaches a member.
    Ask { initiator: usize, member: usize },
    /// A promise that was sent at any time before reaches its member again.
    AskAgain {
        sent: prop::sample::Index,
        member: usize,
    },
    /// An initiator with all promises in hand initialises.
    Initialise(usize),
    /// A node stops and starts: it keeps what is on disk, and no memory of answers.
    Restart(usize),
    /// A node loses its disk.
    Wipe(usize),
    /// A node is started with other seeds.
    Reconfigure(usize, BTreeSet<usize>),
}

fn arb_step(nodes: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..nodes).prop_map(Step::Initiate),
        8 => (0..nodes, 0..nodes).prop_map(|(initiator, member)| Step::Ask { initiator, member }),
        2 => (any::<prop::sample::Index>(), 0..nodes).prop_map(|(sent, member)| Step::AskAgain { sent, member }),
        4 => (0..nodes).prop_map(Step::Initialise),
        1 => (0..nodes).prop_map(Step::Restart),
        1 => (0..nodes).prop_map(Step::Wipe),
        1 => (0..nodes, prop::collection::btree_set(0..nodes, 1..=nodes))
            .prop_map(|(node, seeds)| Step::Reconfigure(node, seeds)),
    ]
}

struct Model {
    seat: Seat,
    seeds: Vec<String>,
    held: Option<PromiseRequest>,
    cluster_id: Option<u128>,
    answers: BTreeSet<u64>,
}

struct World {
    nodes: Vec<Model>,
    sent: Vec<PromiseRequest>,
    clusters: BTreeMap<u128, Vec<Seat>>,
    drawn: u128,
}

impl World {
    fn new(count: usize) -> Self {
        let seats: Vec<Seat> = (0..count)
            .map(|n| seat(n as u64 + 1, &format!("node-{n}:1")))
            .collect();
        let seeds = addresses(&seats);
        let node = |seat: Seat| Model {
            seat,
            seeds: seeds.clone(),
            held: None,
            cluster_id: None,
            answers: BTreeSet::new(),
        };
        let nodes = seats.into_iter().map(node).collect();
        Self {
            nodes,
            sent: Vec::new(),
            clusters: BTreeMap::new(),
            drawn: 1_000,
        }
    }

    fn draw(&mut self) -> u128 {
        self.drawn += 1;
        self.drawn
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Initiate(n) => self.initiate(n),
            Step::Ask { initiator, member } => {
                if let Some(held) = self.nodes[initiator].held.clone()
                    && held.initiator == self.nodes[initiator].seat.node_id
                {
                    self.sent.push(held.clone());
                    if self.ask(&held, member) {
                        self.nodes[initiator].answers.insert(member as u64 + 1);
                    }
                }
            }
            Step::AskAgain { sent, member } => {
                if !self.sent.is_empty() {
                    let promise = self.sent[sent.index(self.sent.len())].clone();
                    // Its answer reaches nobody.
                    self.ask(&promise, member);
                }
            }
            Step::Initialise(n) => self.initialise(n),
            Step::Restart(n) => self.nodes[n].answers.clear(),
            Step::Wipe(n) => {
                let store_id = self.draw();
                let node = &mut self.nodes[n];
                node.seat.peer.store_id = store_id;
                (node.held, node.cluster_id) = (None, None);
                node.answers.clear();
            }
            Step::Reconfigure(n, seeds) => {
                let addresses: Vec<String> = seeds
                    .into_iter()
                    .map(|seed| self.nodes[seed].seat.peer.address.clone())
                    .collect();
                self.nodes[n].seeds = addresses;
            }
        }
    }

    /// The initiator's part, as in `Formation::own_promise`.
    fn initiate(&mut self, n: usize) {
        let cluster_id = self.draw();
        let node = &self.nodes[n];
        if node.seeds.first() != Some(&node.seat.peer.address) || node.cluster_id.is_some() {
            return;
        }
        let members: Vec<Seat> = self
            .nodes
            .iter()
            .filter(|other| node.seeds.contains(&other.seat.peer.address))
            .map(|other| other.seat.clone())
            .collect();
        let node = &mut self.nodes[n];
        if let Some(held) = &node.held
            && held.initiator == node.seat.node_id
            && held.members == members
        {
            return;
        }
        let round = node.held.as_ref().map_or(1, |held| held.round + 1);
        let asked = PromiseRequest {
            initiator: node.seat.node_id,
            round,
            cluster_id,
            members,
        };
        if self.ask(&asked, n) {
            self.nodes[n].answers = BTreeSet::from([n as u64 + 1]);
        }
    }

    fn ask(&mut self, asked: &PromiseRequest, member: usize) -> bool {
        let node = &mut self.nodes[member];
        let candidate = Candidate {
            seat: &node.seat,
            cluster_id: node.cluster_id,
            seeds: Some(&node.seeds),
            held: node.held.as_ref(),
        };
        match judge(&candidate, asked) {
            Ok(Verdict::New) => node.held = Some(asked.clone()),
            Ok(Verdict::Known) => {}
            Err(_) => return false,
        }
        true
    }

    fn initialise(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(held) = node.held.clone() else { return };
        if held.initiator != node.seat.node_id || node.cluster_id.is_some() {
            return;
        }
        let own = node.seat.node_id;
        if held
            .members
            .iter()
            .all(|seat| seat.node_id == own || node.answers.contains(&seat.node_id.get()))
        {
            node.cluster_id = Some(held.cluster_id);
            self.clusters.insert(held.cluster_id, held.members);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// I14: whatever is asked, repeated, restarted, wiped or reconfigured, in any order,
    /// no data directory is ever a member of two clusters.
    #[test]
    fn two_clusters_never_share_a_member(steps in prop::collection::vec(arb_step(3), 1..60)) {
        let mut world = World::new(3);
        for step in steps {
            world.step(step);
            let mut seen = BTreeSet::new();
            for members in world.clusters.values() {
                for member in members {
                    prop_assert!(seen.insert(member.peer.store_id), "{:?}", world.clusters);
                }
            }
        }
    }
}

/// The property above would hold if nothing ever formed; this shows that clusters do.
#[test]
fn undisturbed_seeds_form_one_cluster() {
    let mut world = World::new(3);
    world.step(Step::Initiate(0));
    for member in 0..3 {
        world.step(Step::Ask { initiator: 0, member });
    }
    world.step(Step::Initialise(0));
    assert_eq!(world.clusters.len(), 1);
}
