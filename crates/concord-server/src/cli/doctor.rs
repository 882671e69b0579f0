//! `concord doctor`: what is in a data directory, and whether all of it can be believed.

use std::sync::Arc;

use concord_raft::offline::{Examination, LogFacts, Severity, examine};
use concord_raft::os::OsDisk;
use serde_json::{Value, json};

use super::args::{DoctorArgs, Output};
use super::error::CliError;
use super::output::Out;

/// Exit codes: warnings are a failure of no kind, damage is one of storage.
const WARNED: u8 = 1;
const DAMAGED: u8 = 10;

/// `concord doctor DIR`
pub(super) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let found = examine(&args.data_dir, Arc::new(OsDisk));
    let mut out = Out::new(args.local.output);
    if args.local.output == Output::Json {
        out.json(&as_json(&found))?;
    } else {
        print(&mut out, &found)?;
    }
    out.flush()?;
    match found.severity() {
        None | Some(Severity::Note) => Ok(()),
        Some(Severity::Warning) => Err(CliError::Exited(WARNED)),
        Some(Severity::Damage) => Err(CliError::Exited(DAMAGED)),
    }
}

fn print(out: &mut Out, found: &Examination) -> Result<(), CliError> {
    if let Some(identity) = found.identity {
        let cluster = identity.cluster_id.map(|id| format!("{id:032x}"));
        out.facts([
            ("node", identity.node_id.to_string()),
            ("store", format!("{:032x}", identity.store_id)),
            ("cluster", cluster.unwrap_or_else(|| "none yet".to_owned())),
        ])?;
    }
    for snapshot in &found.snapshots {
        let (name, bytes) = (snapshot.file.display(), snapshot.file_bytes);
        out.line(format!(
            "{:<18} {name}: up to {}, {bytes} bytes, whole",
            "snapshot",
            position(snapshot.last)
        ))?;
        for (node, address) in &snapshot.members {
            out.line(format!("{:<18} {node} at {address}", "member then"))?;
        }
    }
    if let Some(log) = &found.log {
        print_log(out, log)?;
    }
    for (file, header) in &found.backups {
        out.line(format!(
            "{:<18} {}: revision {}, whole",
            "backup",
            file.display(),
            header.revision
        ))?;
    }
    for finding in &found.findings {
        let offset = finding
            .offset
            .map_or_else(String::new, |offset| format!(" at byte {offset}"));
        let file = finding.file.display();
        out.line(format!(
            "{:<18} {file}{offset}: {}",
            name(finding.severity),
            finding.what
        ))?;
    }
    let verdict = match found.severity() {
        None | Some(Severity::Note) => "everything that is here is whole",
        Some(Severity::Warning) => "everything that is here is whole, but see the warnings",
        Some(Severity::Damage) => "there is damage; nothing was changed",
    };
    out.line(verdict)
}

fn print_log(out: &mut Out, log: &LogFacts) -> Result<(), CliError> {
    let vote = log.vote.map_or_else(
        || "none".to_owned(),
        |(term, node, committed)| {
            let kind = if committed { "leader known" } else { "candidate" };
            format!("term {term} for node {node} ({kind})")
        },
    );
    out.facts([
        ("vote", vote),
        ("purged up to", position(log.purged)),
        ("known committed", position(log.committed)),
        ("last entry", position(log.last)),
        (
            "entries",
            format!("{} with {} requests", log.entries, log.requests),
        ),
    ])?;
    for segment in &log.segments {
        let (name, bytes) = (segment.file.display(), segment.file_bytes);
        out.line(format!(
            "{:<18} {name}: {} of {bytes} bytes written",
            "segment", segment.written_bytes
        ))?;
    }
    Ok(())
}

/// An entry, by index and term.
fn position(at: Option<(u64, u64)>) -> String {
    at.map_or_else(
        || "none".to_owned(),
        |(term, index)| format!("{index} (term {term})"),
    )
}

const fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Damage => "damage",
    }
}

fn as_json(found: &Examination) -> Value {
    let position = |at: Option<(u64, u64)>| at.map(|(term, index)| json!({ "term": term, "index": index }));
    let identity = found.identity.map(|identity| {
        json!({
            "node_id": identity.node_id.get(),
            "store_id": format!("{:032x}", identity.store_id),
            "cluster_id": identity.cluster_id.map(|id| format!("{id:032x}")),
        })
    });
    let log = found.log.as_ref().map(|log| {
        let segments = log.segments.iter();
        json!({
            "vote": log.vote.map(|(term, node, committed)| {
                json!({ "term": term, "node_id": node, "committed": committed })
            }),
            "purged": position(log.purged),
            "committed": position(log.committed),
            "last": position(log.last),
            "entries": log.entries,
            "requests": log.requests,
            "segments": segments.map(|segment| json!({
                "file": segment.file.to_string_lossy(),
                "file_bytes": segment.file_bytes,
                "written_bytes": segment.written_bytes,
            })).collect::<Vec<_>>(),
        })
    });
    let snapshots = found.snapshots.iter().map(|snapshot| {
        let members = snapshot.members.iter();
        json!({
            "file": snapshot.file.to_string_lossy(),
            "file_bytes": snapshot.file_bytes,
            "cluster_id": format!("{:032x}", snapshot.cluster_id),
            "last": position(snapshot.last),
            "members": members
                .map(|(node, address)| json!({ "node_id": node, "address": address }))
                .collect::<Vec<_>>(),
        })
    });
    let backups = found
        .backups
        .iter()
        .map(|(file, header)| json!({ "file": file.to_string_lossy(), "revision": header.revision.get() }));
    let findings = found.findings.iter().map(|finding| {
        json!({
            "severity": name(finding.severity),
            "file": finding.file.to_string_lossy(),
            "offset": finding.offset,
            "what": finding.what,
        })
    });
    json!({
        "identity": identity,
        "log": log,
        "snapshots": snapshots.collect::<Vec<_>>(),
        "backups": backups.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}
