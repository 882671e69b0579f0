//! Clients whose requests are judged: by the policy that their node shows, which may be an old one, some time before
//! the request arrives. Others change the policy meanwhile.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use concord_core::{
    Command, Guard, Key, Lifetime, PolicyChange, PolicyEdit, PrincipalId, Rejection, Reply, Value,
};
use concord_raft::node::Node;
use tokio::time::sleep;

use super::{Clients, StoreLike};
use crate::checks::guards::GUARDED;
use crate::history::Said;
use crate::random::Random;

impl Clients {
    /// One such client, until its node ends or clients are stopped.
    pub(crate) async fn run_guarded<M: StoreLike>(self, node: Node<M>, mut random: Random) {
        while !self.stopped.load(Ordering::Relaxed) {
            sleep(random.millis(0..self.workload.think_ms)).await;
            if self.ask_guarded(&node, &mut random).await.is_break() {
                return;
            }
        }
    }

    async fn ask_guarded<M: StoreLike>(&self, node: &Node<M>, random: &mut Random) -> ControlFlow<()> {
        let judged_by = node.published().view.policy_revision();
        // Whoever judges may be slow: that is the race.
        sleep(random.millis(0..20)).await;
        let command = if random.chance(20) {
            revoke(judged_by, random)
        } else {
            write(judged_by, random)
        };
        let (said, flow) = self.send(node, command).await;
        if let Said::Reply(Reply::Rejected(Rejection::PolicyChanged { .. })) = said {
            self.trace.mark("judged by a policy that is gone");
        }
        flow
    }
}

fn revoke(judged_by: u64, random: &mut Random) -> Command {
    let edit = PolicyEdit {
        key: Bytes::from_static(b"token"),
        record: random.chance(50).then(|| Bytes::from_static(b"rights")),
    };
    Command::EditPolicy(PolicyChange::new(judged_by, vec![edit]))
}

fn write(judged_by: u64, random: &mut Random) -> Command {
    let guard = Guard {
        policy_revision: judged_by,
        expires_at: None,
        principal: PrincipalId::new(b"writer").expect("a short id"),
        is_confined: false,
        tenant: None,
    };
    let put = Command::Put {
        key: Key::new(format!("{GUARDED}{}", random.index(2))).expect("a short key"),
        value: Value::text(judged_by.to_string()).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    };
    let command = Box::new(put);
    Command::Guarded { guard, command }
}
