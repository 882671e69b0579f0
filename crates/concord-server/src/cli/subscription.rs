//! Durable subscriptions: made, shown, consumed, acknowledged.

use serde_json::{Value, json};

use super::Session;
use super::args::{ClientArgs, ConsumeArgs, CreateSubscriptionArgs, SubscriptionCommand};
use super::error::CliError;
use super::output::{cell, plain};
use super::watch::print;
use crate::client::{Request, encode};

const SUBSCRIPTIONS: &str = "/api/v1/subscriptions";

/// `concord subscription ...`
pub(super) async fn run(session: &mut Session, command: &SubscriptionCommand) -> Result<(), CliError> {
    let request = match command {
        SubscriptionCommand::Consume(args) => return consume(session, args).await,
        SubscriptionCommand::Create(args) => create(args),
        SubscriptionCommand::List(_) => Request::get(SUBSCRIPTIONS),
        SubscriptionCommand::Show(args) => Request::get(path(&args.name)),
        SubscriptionCommand::Delete(args) => Request::delete(path(&args.name)),
        SubscriptionCommand::Ack { name, revision, .. } => ack(name, *revision),
        SubscriptionCommand::Reset {
            name, from_revision, ..
        } => {
            let body = json!({ "from_revision": from_revision }).to_string();
            Request::post(format!("{}/reset", path(name))).body("application/json", body.into())
        }
    };
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    match command {
        SubscriptionCommand::List(_) => {
            let found = answer.get("subscriptions").and_then(Value::as_array);
            let rows = found.into_iter().flatten().map(|subscription| {
                ["name", "selector", "acked", "lag"]
                    .map(|field| cell(&plain(subscription.get(field))))
                    .to_vec()
            });
            session
                .out
                .table(&["NAME", "ABOUT", "ACKNOWLEDGED", "BEHIND"], rows)
        }
        SubscriptionCommand::Show(_) => {
            let fields = ["name", "selector", "where", "acked", "lag"];
            let shown = fields.map(|field| (field, cell(&plain(answer.get(field)))));
            session
                .out
                .facts(shown.into_iter().filter(|(_, value)| !value.is_empty()))
        }
        SubscriptionCommand::Create(_)
        | SubscriptionCommand::Delete(_)
        | SubscriptionCommand::Consume(_)
        | SubscriptionCommand::Ack { .. }
        | SubscriptionCommand::Reset { .. } => session.out.line(format!(
            "acknowledged up to revision {}",
            plain(answer.get("acked"))
        )),
    }
}

fn path(name: &str) -> String {
    format!("{SUBSCRIPTIONS}/{}", encode(name))
}

fn create(args: &CreateSubscriptionArgs) -> Request {
    let body = json!({
        "name": args.name,
        "key": args.key,
        "prefix": args.prefix,
        "start": args.start,
        "end": args.end,
        "glob": args.glob,
        "pattern": args.pattern,
        "events": args.events,
        "where": args.only_where,
        "from_revision": args.from_revision,
    });
    Request::post(SUBSCRIPTIONS).body("application/json", body.to_string().into())
}

fn ack(name: &str, revision: u64) -> Request {
    let body = json!({ "revision": revision }).to_string();
    Request::post(format!("{}/ack", path(name))).body("application/json", body.into())
}

/// Prints what comes. What is acknowledged was printed, and what is printed again was not.
async fn consume(session: &mut Session, args: &ConsumeArgs) -> Result<(), CliError> {
    let request = Request::get(format!("{}/events", path(&args.name)))
        .query("with_previous", args.previous.then_some(true))
        .accept("text/event-stream");
    let mut follow = session.client.follow(request);
    let mut left = args.limit;
    while left != Some(0) {
        let event = follow.next().await?;
        if event.name != "changes" {
            continue;
        }
        let data: Value = event.data()?;
        let changes = data.get("events").and_then(Value::as_array);
        for change in changes.map(Vec::as_slice).unwrap_or_default() {
            left = left.map(|left| left.saturating_sub(1));
            print(session, change)?;
        }
        session.out.flush()?;
        let is_complete = data.get("complete").and_then(Value::as_bool) == Some(true);
        if let Some(revision) = data.get("revision").and_then(Value::as_u64)
            && args.ack
            && is_complete
        {
            session.client.send(&ack(&args.name, revision)).await?;
        }
    }
    Ok(())
}

impl SubscriptionCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Create(args) => &args.client,
            Self::Consume(args) => &args.client,
            Self::Show(args) | Self::Delete(args) => &args.client,
            Self::Ack { client, .. } | Self::Reset { client, .. } | Self::List(client) => client,
        }
    }
}
