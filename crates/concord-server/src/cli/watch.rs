//! `concord watch`: prints what happens to keys until it is stopped.

use serde_json::Value;

use super::Session;
use super::args::WatchArgs;
use super::error::CliError;
use super::keyspace::key_of;
use super::output::{cell, plain};
use crate::client::Request;

/// `concord watch`
pub(super) async fn watch(session: &mut Session, args: &WatchArgs) -> Result<(), CliError> {
    let mut follow = session.client.follow(request(args));
    let mut left = args.limit;
    while left != Some(0) {
        let event = follow.next().await?;
        if event.name != "changes" {
            continue;
        }
        let data: Value = event.data()?;
        let changes = data.get("events").and_then(Value::as_array);
        for change in changes.map(Vec::as_slice).unwrap_or_default() {
            if left == Some(0) {
                break;
            }
            left = left.map(|left| left.saturating_sub(1));
            print(session, change)?;
        }
        // Whoever reads along sees each revision when it comes.
        session.out.flush()?;
    }
    Ok(())
}

fn request(args: &WatchArgs) -> Request {
    let prefix = args.prefix.as_deref().or(args.positional.as_deref());
    Request::get("/api/v1/watch")
        .query("key", args.key.as_deref())
        .query("prefix", prefix)
        .query("start", args.start.as_deref())
        .query("end", args.end.as_deref())
        .query("glob", args.glob.as_deref())
        .query("pattern", args.pattern.as_deref())
        .query("events", args.events.as_deref())
        .query("where", args.only_where.as_deref())
        .query("with_previous", args.previous.then_some(true))
        .query("from_revision", args.from_revision)
        .accept("text/event-stream")
}

pub(super) fn print(session: &mut Session, change: &Value) -> Result<(), CliError> {
    if session.out.is_json() {
        return session.out.json(change);
    }
    let mut line = format!(
        "{:>8}  {:<6}  {}",
        plain(change.get("mod_revision")),
        plain(change.get("event")),
        cell(&key_of(change)),
    );
    if change.get("value").is_some() {
        line.push_str("  ");
        line.push_str(&cell(&plain(change.get("value"))));
    }
    if let Some(previous) = change.get("previous") {
        line.push_str("  was ");
        line.push_str(&cell(&plain(previous.get("value"))));
    }
    session.out.line(line)
}
