//! `concord recover`: a cluster of its own out of a survivor, when the quorum is lost for good.

use std::sync::Arc;

use concord_core::Store;
use concord_raft::offline::{Forced, Survivor, SurvivorFacts};
use concord_raft::os::{OsClock, OsDisk, OsEntropy};
use concord_raft::ports::Clock as _;
use serde_json::{Value, json};

use super::args::{Output, RecoverArgs};
use super::backup::refused;
use super::error::CliError;
use super::output::Out;

/// `concord recover --force-new-cluster ...`
pub(super) fn run(args: &RecoverArgs) -> Result<(), CliError> {
    let survivor = Survivor::<Store>::open(&args.data_dir, Arc::new(OsDisk)).map_err(refused)?;
    let facts = survivor.facts().clone();
    let forced = args
        .yes
        .then(|| survivor.force_new_cluster(OsClock.now(), &OsEntropy))
        .transpose()
        .map_err(refused)?;
    let mut out = Out::new(args.local.output);
    if args.local.output == Output::Json {
        out.json(&as_json(&facts, forced.as_ref()))?;
    } else {
        print(&mut out, &facts, forced.as_ref())?;
    }
    out.flush()?;
    match forced {
        Some(_) => Ok(()),
        None => Err(CliError::Usage(
            "nothing was changed; to do it, say --yes as well".to_owned(),
        )),
    }
}

fn print(out: &mut Out, facts: &SurvivorFacts, forced: Option<&Forced>) -> Result<(), CliError> {
    let index = |index: Option<concord_core::ids::LogIndex>| {
        index.map_or_else(|| "none".to_owned(), |index| index.to_string())
    };
    out.facts([
        ("node", facts.identity.node_id.to_string()),
        (
            "old cluster",
            format!("{:032x}", facts.identity.cluster_id.unwrap_or_default()),
        ),
        ("snapshot up to", index(facts.snapshot)),
        ("known committed", index(facts.committed)),
        ("last entry", format!("{} (term {})", facts.last, facts.term)),
        ("latest term", facts.latest_term.to_string()),
        ("revision", facts.revision.to_string()),
    ])?;
    for (node, address) in &facts.members {
        out.line(format!("{:<18} {node} at {address}", "old member"))?;
    }
    for line in losses(facts) {
        out.line(line)?;
    }
    if let Some(forced) = forced {
        let cluster_id = forced.identity.cluster_id.unwrap_or_default();
        out.line(format!(
            "done: node {} is the only member of cluster {cluster_id:032x}",
            forced.identity.node_id
        ))?;
        out.line(format!("what was here before is in {}", forced.saved.display()))?;
        out.line("the old members must not be started again: clear their directories and let them join")?;
    }
    Ok(())
}

/// What may be lost, and what may be there that nobody expects.
fn losses(facts: &SurvivorFacts) -> Vec<String> {
    let mut lines = Vec::new();
    if facts.unconfirmed_entries > 0 {
        lines.push(format!(
            "kept: {} entries with {} requests behind the last one known to be committed. Each may or may not \
             have been acknowledged; none was refused",
            facts.unconfirmed_entries, facts.unconfirmed_requests
        ));
    }
    lines.push(format!(
        "lost: every write that was acknowledged behind entry {} without this node. How many these are, nothing \
         here can tell; if another survivor's last entry is later (`concord doctor`), recover from that one",
        facts.last
    ));
    if facts.latest_term > facts.term {
        lines.push(format!(
            "take care: this node has heard of term {}, its last entry is of term {}: a leader that it did not \
             follow may have taken writes",
            facts.latest_term, facts.term
        ));
    }
    lines
}

fn as_json(facts: &SurvivorFacts, forced: Option<&Forced>) -> Value {
    let members = facts.members.iter();
    let members: Vec<Value> = members
        .map(|(node, address)| json!({ "node_id": node.get(), "address": address }))
        .collect();
    json!({
        "node_id": facts.identity.node_id.get(),
        "old_cluster_id": format!("{:032x}", facts.identity.cluster_id.unwrap_or_default()),
        "old_members": members,
        "snapshot_index": facts.snapshot.map(concord_core::ids::LogIndex::get),
        "committed_index": facts.committed.map(concord_core::ids::LogIndex::get),
        "last_index": facts.last.get(),
        "term": facts.term.get(),
        "latest_term": facts.latest_term.get(),
        "unconfirmed_entries": facts.unconfirmed_entries,
        "unconfirmed_requests": facts.unconfirmed_requests,
        "revision": facts.revision.get(),
        "done": forced.is_some(),
        "cluster_id": forced.map(|forced| format!("{:032x}", forced.identity.cluster_id.unwrap_or_default())),
        "saved": forced.map(|forced| forced.saved.to_string_lossy().into_owned()),
    })
}
