//! Secondary indexes: made, dropped, shown, asked.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Session;
use super::args::{ClientArgs, CreateIndexArgs, IndexCommand, LookupArgs};
use super::error::CliError;
use super::key::with_page;
use super::keyspace::{go_on, print_page};
use super::output::{cell, plain};
use crate::client::{Request, encode};

const INDEXES: &str = "/api/v1/indexes";

/// How often an index is looked at while it is being filled.
const FILL_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// `concord index ...`
pub(super) async fn run(session: &mut Session, command: &IndexCommand) -> Result<(), CliError> {
    match command {
        IndexCommand::Create(args) => create(session, args).await,
        IndexCommand::Drop { name, once, .. } => {
            let request = Request::delete(path(name)).once(once.idempotency_key.as_ref());
            let answer: Value = session.client.send(&request).await?.data()?;
            print_change(session, &answer, "dropped")
        }
        IndexCommand::Reindex { name, wait, once, .. } => {
            let request =
                Request::post(format!("{}/reindex", path(name))).once(once.idempotency_key.as_ref());
            let answer: Value = session.client.send(&request).await?.data()?;
            if *wait {
                return wait_until_filled(session, name, session.timeout).await;
            }
            print_change(session, &answer, "is being filled")
        }
        IndexCommand::List(_) => {
            let answer: Value = session.client.send(&Request::get(INDEXES)).await?.data()?;
            if session.out.is_json() {
                return session.out.json(&answer);
            }
            let indexes = answer.get("indexes").and_then(Value::as_array);
            print_indexes(session, indexes.into_iter().flatten())
        }
        IndexCommand::Show { name, .. } => {
            let answer: Value = session.client.send(&Request::get(path(name))).await?.data()?;
            print_index(session, &answer)
        }
        IndexCommand::Lookup(args) => lookup(session, args).await,
    }
}

fn path(name: &str) -> String {
    format!("{INDEXES}/{}", encode(name))
}

async fn create(session: &mut Session, args: &CreateIndexArgs) -> Result<(), CliError> {
    let body = json!({
        "name": args.name,
        "extractor": args.extractor,
        "prefix": args.prefix.as_deref().unwrap_or_default(),
        "unique": args.unique,
        "fill": !args.no_fill,
    });
    let request = Request::post(INDEXES)
        .json(&body)
        .once(args.once.idempotency_key.as_ref());
    let answer: Value = session.client.send(&request).await?.data()?;
    if args.wait {
        return wait_until_filled(session, &args.name, session.timeout).await;
    }
    print_change(session, &answer, "made")
}

/// Looks until the index is no longer being filled, at most so long after it last came on.
async fn wait_until_filled(session: &mut Session, name: &str, patience: Duration) -> Result<(), CliError> {
    let mut visited = None;
    let mut deadline = Instant::now() + patience;
    loop {
        let index: Value = session.client.send(&Request::get(path(name))).await?.data()?;
        let state = plain(index.get("state"));
        if state != "filling" || (visited == index.get("keys_visited").cloned() && Instant::now() >= deadline)
        {
            return print_index(session, &index);
        }
        if visited != index.get("keys_visited").cloned() {
            visited = index.get("keys_visited").cloned();
            deadline = Instant::now() + patience;
        }
        sleep(FILL_POLL_INTERVAL).await;
    }
}

fn print_change(session: &mut Session, answer: &Value, what: &str) -> Result<(), CliError> {
    if session.out.is_json() {
        return session.out.json(answer);
    }
    session
        .out
        .line(format!("{what}, revision {}", plain(answer.get("revision"))))
}

fn print_index(session: &mut Session, index: &Value) -> Result<(), CliError> {
    if session.out.is_json() {
        return session.out.json(index);
    }
    print_indexes(session, std::iter::once(index))
}

fn print_indexes<'a>(
    session: &mut Session,
    indexes: impl Iterator<Item = &'a Value>,
) -> Result<(), CliError> {
    let rows = indexes.map(|index| {
        vec![
            cell(&plain(index.get("name"))),
            cell(&plain(index.get("extractor"))),
            cell(&plain(index.get("prefix"))),
            if index.get("unique") == Some(&Value::Bool(true)) {
                "yes"
            } else {
                ""
            }
            .to_owned(),
            state_of(index),
            plain(index.get("entries")),
        ]
    });
    let head = ["INDEX", "EXTRACTOR", "PREFIX", "UNIQUE", "STATE", "ENTRIES"];
    session.out.table(&head, rows)
}

/// How far an index is, in words.
fn state_of(index: &Value) -> String {
    let state = plain(index.get("state"));
    match state.as_str() {
        "filling" => format!("filling, {} keys", plain(index.get("keys_visited"))),
        "partial" => format!("since revision {}", plain(index.get("since_revision"))),
        "failed" => cell(&format!("failed at {}", plain(index.get("duplicate")))),
        _ => state,
    }
}

async fn lookup(session: &mut Session, args: &LookupArgs) -> Result<(), CliError> {
    let mut cursor = args.cursor.clone();
    let mut is_first = true;
    loop {
        let request = page_request(args, cursor.as_deref());
        let page: Value = session.client.send(&request).await?.data()?;
        if session.out.is_json() {
            session.out.json(&page)?;
        } else {
            print_page(session, args.keys_only, &page, is_first)?;
        }
        is_first = false;
        cursor = go_on(session, &page, cursor.as_deref(), args.all)?;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn page_request(args: &LookupArgs, cursor: Option<&str>) -> Request {
    let value = |text: &Option<String>| text.as_deref().map(|text| scalar(text, args.text));
    let request = Request::get(format!("{}/lookup", path(&args.name)))
        .query("value", value(&args.value))
        .query("from", value(&args.from))
        .query("after", value(&args.after))
        .query("upto", value(&args.upto))
        .query("before", value(&args.before))
        .query("limit", args.limit)
        .query("order", args.reverse.then_some("desc"))
        .query("keys_only", args.keys_only.then_some(true));
    with_page(request, cursor, &args.read)
}

/// A number or bool as JSON has it, unless it is said to be text; anything else is text.
fn scalar(text: &str, is_text: bool) -> String {
    let is_scalar = matches!(serde_json::from_str(text), Ok(Value::Number(_) | Value::Bool(_)));
    let is_quoted = matches!(serde_json::from_str(text), Ok(Value::String(_)));
    if !is_text && (is_scalar || is_quoted) {
        return text.to_owned();
    }
    Value::String(text.to_owned()).to_string()
}

impl IndexCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Create(args) => &args.client,
            Self::Lookup(args) => &args.client,
            Self::Drop { client, .. }
            | Self::Reindex { client, .. }
            | Self::Show { client, .. }
            | Self::List(client) => client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_text_and_numbers_are_numbers_unless_said_otherwise() {
        for (text, is_text, expected) in [
            ("ada", false, "\"ada\""),
            ("7", false, "7"),
            ("7", true, "\"7\""),
            ("true", false, "true"),
            ("\"7\"", false, "\"7\""),
            ("null", false, "\"null\""),
            ("[1]", false, "\"[1]\""),
        ] {
            assert_eq!(scalar(text, is_text), expected, "{text}");
        }
    }
}
