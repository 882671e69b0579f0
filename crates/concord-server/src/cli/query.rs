//! Queries: asked, counted, explained, and deletes by filter.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Session;
use super::args::QueryArgs;
use super::error::CliError;
use super::key::with_read;
use super::keyspace::{go_on, print_page};
use super::output::{cell, plain};
use crate::client::{ClientError, Request};

const QUERY: &str = "/api/v1/query";

/// `concord query`
pub(super) async fn query(session: &mut Session, args: &QueryArgs) -> Result<(), CliError> {
    if args.delete || args.count || args.explain {
        let answer: Value = session.client.send(&request(args, None)?).await?.data()?;
        if session.out.is_json() {
            return session.out.json(&answer);
        }
        return print(session, args, &answer);
    }
    let mut cursor = args.cursor.clone();
    let mut is_first = true;
    loop {
        let request = request(args, cursor.as_deref())?;
        let page: Value = match session.client.send(&request).await {
            Ok(answer) => answer.data()?,
            // It has looked at as much as it may and found nothing: that is no answer, but a place to go on from.
            Err(error) => match next_of(&error).filter(|_| args.all) {
                Some(next) if cursor.as_ref() != Some(&next) => {
                    cursor = Some(next);
                    continue;
                }
                Some(_) | None => return Err(error.into()),
            },
        };
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

/// Where a query goes on that was ended without an answer.
fn next_of(error: &ClientError) -> Option<String> {
    let stopped = error.details().get("stopped").and_then(Value::as_str);
    let cursor = error.details().get("cursor").and_then(Value::as_str);
    cursor.filter(|_| stopped.is_some()).map(str::to_owned)
}

fn request(args: &QueryArgs, cursor: Option<&str>) -> Result<Request, CliError> {
    let verb = match (args.delete, args.count, args.explain, args.keys_only) {
        (true, ..) => "delete_where",
        (_, true, ..) => "count",
        (_, _, true, _) => "explain",
        (.., true) => "keys",
        _ => "where",
    };
    let mut body = Map::new();
    body.insert("verb".to_owned(), json!(verb));
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.as_ref().map(|text| json!(text));
    add("where", text(&args.filter));
    add("prefix", text(&args.prefix));
    add("suffix", text(&args.suffix));
    add("contains", text(&args.contains));
    add("glob", text(&args.glob));
    add("pattern", text(&args.pattern));
    add("start", text(&args.start));
    add("end", text(&args.end));
    if let [start, end] = args.range.as_slice() {
        add("range", Some(json!({"start": start, "end": end})));
    }
    add("order_by", text(&args.order_by));
    add("order", args.reverse.then(|| json!("desc")));
    add("offset", args.offset.map(|offset| json!(offset)));
    add("limit", args.limit.map(|limit| json!(limit)));
    add("max_scanned", args.max_scanned.map(|most| json!(most)));
    add("cursor", cursor.map(|cursor| json!(cursor)));
    let fields = fields(&args.select)?;
    add("select", (!fields.is_empty()).then(|| json!(fields)));
    // The cursor has the revision of its first page, and takes no other.
    let revision = args.read.revision.filter(|_| cursor.is_none());
    add("revision", revision.map(|revision| json!(revision)));
    let request = if args.delete {
        Request::post(QUERY)
    } else {
        Request::fetch(QUERY)
    };
    let read = super::args::ReadArgs {
        revision: None,
        ..args.read.clone()
    };
    Ok(with_read(request.json(&Value::Object(body)), &read))
}

/// Fields as `NAME=EXPRESSION`, or an expression that is its own name.
fn fields(written: &[String]) -> Result<BTreeMap<&str, &str>, CliError> {
    let mut fields = BTreeMap::new();
    for field in written {
        let (name, text) = match field.split_once('=') {
            Some((name, text)) if !name.is_empty() && !text.starts_with('=') => (name, text),
            Some(_) | None => (field.as_str(), field.as_str()),
        };
        if fields.insert(name, text).is_some() {
            return Err(CliError::Usage(format!("field `{name}` is given twice")));
        }
    }
    Ok(fields)
}

fn print(session: &mut Session, args: &QueryArgs, answer: &Value) -> Result<(), CliError> {
    if args.count {
        return session.out.line(plain(answer.get("count")));
    }
    if args.delete {
        let more = match answer.get("more") {
            Some(Value::Bool(true)) => ", more match",
            _nothing => "",
        };
        return session.out.line(format!(
            "revision {}, {} keys deleted{more}",
            plain(answer.get("revision")),
            plain(answer.get("count"))
        ));
    }
    let plan = answer.get("plan").unwrap_or(&Value::Null);
    let reads = match plain(plan.get("reads")).as_str() {
        "index" => format!("index {}", plain(plan.get("index"))),
        "key_range" => match plan.get("end") {
            Some(end) => format!(
                "keys from {} to before {}",
                plain(plan.get("start")),
                plain(Some(end))
            ),
            None => format!("keys from {}", plain(plan.get("start"))),
        },
        "full_scan" => "all keys".to_owned(),
        other => other.to_owned(),
    };
    let is = |name: &str| plan.get(name) == Some(&Value::Bool(true));
    let least = if is("more_records") { "more than " } else { "" };
    session.out.facts([
        ("reads", cell(&reads)),
        ("records", format!("{least}{}", plain(plan.get("records")))),
        (
            "order",
            if is("in_order") { "as read" } else { "sorted" }.to_owned(),
        ),
    ])?;
    for (name, field) in [("by index", "by_index"), ("filter", "filters")] {
        let parts = plan.get(field).and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            session.out.facts([(name, cell(&plain(Some(part))))])?;
        }
    }
    Ok(())
}
