//! Commands about many keys or many versions.

use serde_json::Value;

use super::Session;
use super::args::{HistoryArgs, ScanArgs};
use super::error::CliError;
use super::key::{ask_about, path, with_page};
use super::output::{cell, plain};
use crate::client::{ClientError, Request};

/// `concord scan`
pub(super) async fn scan(session: &mut Session, args: &ScanArgs) -> Result<(), CliError> {
    let mut cursor = args.cursor.clone();
    let mut is_first = true;
    loop {
        let page: Value = session
            .client
            .send(&page_request(args, cursor.as_deref()))
            .await?
            .data()?;
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

/// Where the page after this one begins, if all are asked for; otherwise it is only told. It must be another place than
/// where this one began.
pub(super) fn go_on(
    session: &mut Session,
    page: &Value,
    cursor: Option<&str>,
    all: bool,
) -> Result<Option<String>, CliError> {
    let Some(next) = page.get("next_cursor").and_then(Value::as_str) else {
        return Ok(None);
    };
    if Some(next) == cursor {
        let reason = "the cursor does not move".to_owned();
        let endpoint = session.client.endpoints().first().cloned().unwrap_or_default();
        return Err(CliError::Client(ClientError::Garbled {
            endpoint,
            status: 200,
            reason,
        }));
    }
    if all {
        return Ok(Some(next.to_owned()));
    }
    if !session.out.is_json() {
        session.out.line(format!("more: --cursor {next}"))?;
    }
    Ok(None)
}

fn page_request(args: &ScanArgs, cursor: Option<&str>) -> Request {
    let prefix = args.prefix.as_deref().or(args.positional.as_deref());
    let request = Request::get("/api/v1/kv")
        .query("prefix", prefix)
        .query("start", args.start.as_deref())
        .query("end", args.end.as_deref())
        .query("limit", args.limit)
        .query("order", args.reverse.then_some("desc"))
        .query("keys_only", args.keys_only.then_some(true));
    with_page(request, cursor, &args.read)
}

/// A page of records, as a table or only their keys.
pub(super) fn print_page(
    session: &mut Session,
    keys_only: bool,
    page: &Value,
    with_head: bool,
) -> Result<(), CliError> {
    let items = page.get("items").and_then(Value::as_array);
    let mut items = items.into_iter().flatten();
    if keys_only {
        return items.try_for_each(|item| session.out.line(key_of(item)));
    }
    let rows = items.map(|item| {
        vec![
            cell(&key_of(item)),
            plain(item.get("mod_revision")),
            cell(&plain(item.get("value"))),
        ]
    });
    let head: &[&str] = if with_head {
        &["KEY", "REVISION", "VALUE"]
    } else {
        &[]
    };
    session.out.table(head, rows)
}

/// `concord history`
pub(super) async fn history(session: &mut Session, args: &HistoryArgs) -> Result<(), CliError> {
    let request = Request::get(format!("{}/history", path(&args.key)?)).query("limit", args.limit);
    let answer: Value = ask_about(session, &args.key, &request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let items = answer
        .get("versions")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = items.iter().map(|item| {
        vec![
            plain(item.get("mod_revision")),
            plain(item.get("version")),
            plain(item.get("event")),
            cell(&plain(item.get("value"))),
        ]
    });
    session
        .out
        .table(&["REVISION", "VERSION", "CHANGE", "VALUE"], rows)
}

/// A key as text; one that is not UTF-8 is shown in Base64, marked as such.
pub(super) fn key_of(item: &Value) -> String {
    match item.get("key_base64").and_then(Value::as_str) {
        Some(encoded) => format!("base64:{encoded}"),
        None => plain(item.get("key")),
    }
}
