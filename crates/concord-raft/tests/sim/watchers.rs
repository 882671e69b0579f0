//! Watchers on a node: they sleep until a view is published and read it in pages. What they
//! know outlives the node, and they go on from there when it is back.

use concord_raft::node::Node;
use tokio::time::sleep;

use crate::checks::watches::Watches;
use crate::random::Random;
use crate::workload::StoreLike;

/// How a watcher of a seat reads.
#[derive(Clone, Copy, Debug)]
struct Manner {
    name: &'static str,
    prefix: &'static str,
    page_max: u64,
    /// The longest rest between two pages.
    rest_ms: u64,
}

const MANNERS: [Manner; 3] = [
    // Stops in the middle of revisions.
    Manner {
        name: "change by change",
        prefix: "",
        page_max: 3,
        rest_ms: 1,
    },
    Manner {
        name: "of data",
        prefix: "data:",
        page_max: 50,
        rest_ms: 20,
    },
    // So slow that compaction overtakes it.
    Manner {
        name: "slow",
        prefix: "",
        page_max: 30,
        rest_ms: 700,
    },
];

/// Starts the watchers of a seat in its node's runtime; they end with it.
pub(crate) fn start<M: StoreLike>(watches: &Watches, seat: usize, node: &Node<M>, mut random: Random) {
    for manner in MANNERS {
        tokio::spawn(watch(watches.clone(), seat, node.clone(), manner, random.fork()));
    }
}

async fn watch<M: StoreLike>(
    watches: Watches,
    seat: usize,
    node: Node<M>,
    manner: Manner,
    mut random: Random,
) {
    let who = format!("of node {seat}, {}", manner.name);
    let mut views = node.views();
    drop(node);
    loop {
        loop {
            let hurry = watches.with(|book| book.hurry);
            let page = random.within(1..manner.page_max + 1);
            let view = views.load();
            if !watches.read(
                &who,
                manner.prefix.as_bytes(),
                &view.view,
                usize::try_from(page).unwrap_or(1),
            ) {
                break;
            }
            drop(view);
            if !hurry {
                sleep(random.millis(0..manner.rest_ms + 1)).await;
            }
        }
        if !views.changed().await {
            return;
        }
    }
}
