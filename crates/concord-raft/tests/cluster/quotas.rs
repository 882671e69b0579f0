//! Quotas and the policy under concurrency: many writers on all nodes of a cluster.

use bytes::Bytes;
use concord_core::machine::Machine;
use concord_core::reply::{Quota, Rejection, Reply};
use concord_core::store::Store;
use concord_core::{Command, NamespaceEdit, NamespaceQuota, PolicyChange};
use tokio::time::Instant;

use crate::cluster::{Cluster, PATIENCE, put};

const WRITERS: usize = 64;
const LIMIT: u64 = 1_000;

/// D-SEC-8: judged where writes have one order, a quota is met exactly, whoever writes through whatever node.
#[tokio::test(start_paused = true)]
async fn sixty_four_writers_end_at_exactly_the_quota() {
    let cluster = Cluster::of_three().await;
    let quota = NamespaceQuota {
        max_keys: Some(LIMIT),
        ..NamespaceQuota::UNLIMITED
    };
    let edit = NamespaceEdit {
        namespace: Bytes::from_static(b"acme"),
        quota,
        delete_keys: false,
    };
    let change = PolicyChange::new(0, Vec::new()).with_namespaces(vec![edit]);
    let deadline = Instant::now() + PATIENCE;
    let limited = Command::EditPolicy(change).to_bytes();
    let reply = cluster.node(0).propose(limited, deadline).await.unwrap();
    assert!(matches!(reply, Reply::PolicyEdited { .. }), "{reply:?}");

    // Each has 20 keys of its own, and writes each of them twice: 1,280 keys where there is room for 1,000.
    let writers = (0..WRITERS).map(|writer| {
        let node = cluster.node(writer % 3).clone();
        let exceeded = Rejection::QuotaExceeded {
            quota: Quota::NamespaceKeys,
            limit: LIMIT,
        };
        async move {
            let (mut written, mut refused) = (0_u64, 0_u64);
            for n in 0..40 {
                let key = format!("acme:{writer}/{}", n % 20);
                let reply = node.propose(put(&key, "v"), Instant::now() + PATIENCE).await;
                match reply.unwrap().into_result() {
                    Ok(_) => written += 1,
                    Err(rejection) => {
                        assert_eq!(rejection, exceeded);
                        refused += 1;
                    }
                }
            }
            (written, refused)
        }
    });
    let ends = futures::future::join_all(writers).await;
    let sum = |of: fn(&(u64, u64)) -> u64| ends.iter().map(of).sum::<u64>();
    // A key that found room once is overwritten the second time.
    assert_eq!(sum(|(written, _)| *written), 2 * LIMIT);
    assert_eq!(sum(|(_, refused)| *refused), 2 * 280);
    cluster.converge().await;
    for n in 0..3 {
        let published = cluster.node(n).published();
        assert_eq!(published.view.usage(b"acme").keys, LIMIT, "node {n}");
        let chunks: Vec<Bytes> = Store::snapshot(&published.view).collect();
        let mut restorer = Store::restorer();
        chunks
            .iter()
            .for_each(|chunk| concord_core::Restorer::feed(&mut restorer, chunk).unwrap());
        let restored = concord_core::Restorer::finish(restorer).unwrap();
        assert_eq!(concord_core::invariants::check(&restored), Ok(()), "I10");
    }
}
