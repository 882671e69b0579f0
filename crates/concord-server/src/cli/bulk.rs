//! Commands about many keys, each one request at one revision.

use std::fmt::Write as _;

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Session;
use super::args::{ConditionArgs, DeleteArgs, GetArgs, PutManyArgs, TouchArgs, TxnArgs};
use super::error::CliError;
use super::key::{from_file_or_stdin, print_revision, with_read};
use super::output::{cell, plain};
use crate::client::Request;

const BULK: &str = "/api/v1/kv/bulk";

/// `concord get` of several keys. Prints what was found; absent keys are an error in the end.
pub(super) async fn get(session: &mut Session, args: &GetArgs) -> Result<(), CliError> {
    if args.raw {
        return Err(CliError::Usage("--raw is for one key".to_owned()));
    }
    let request = Request::fetch(format!("{BULK}/get")).json(&json!({ "keys": args.keys }));
    let answer: Value = session
        .client
        .send(&with_read(request, &args.read))
        .await?
        .data()?;
    let found = |key: &String| {
        let record = answer.get("results").and_then(|results| results.get(key));
        record.filter(|record| !record.is_null())
    };
    if session.out.is_json() {
        session.out.json(&answer)?;
    } else {
        let rows = args.keys.iter().filter_map(|key| {
            let record = found(key)?;
            Some(vec![
                cell(key),
                plain(record.get("mod_revision")),
                cell(&plain(record.get("value"))),
            ])
        });
        session.out.table(&["KEY", "REVISION", "VALUE"], rows)?;
    }
    let absent: Vec<&str> = args
        .keys
        .iter()
        .filter(|key| found(key).is_none())
        .map(String::as_str)
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    Err(CliError::Request {
        code: "not_found",
        message: format!("no such key: {}", absent.join(", ")),
    })
}

/// `concord delete` of several keys.
pub(super) async fn delete(session: &mut Session, args: &DeleteArgs) -> Result<(), CliError> {
    if args.only.is_some() {
        return Err(CliError::Usage(
            "a condition is for one key: use a transaction for more".to_owned(),
        ));
    }
    let request = Request::post(format!("{BULK}/delete"))
        .json(&json!({ "keys": args.keys }))
        .once(args.once.idempotency_key.as_ref());
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let existed = answer.get("results").and_then(Value::as_object);
    let count = existed.map_or(0, |results| {
        let of = |result: &&Value| result.get("existed").and_then(Value::as_bool) == Some(true);
        results.values().filter(of).count()
    });
    session.out.line(format!(
        "revision {}, {count} deleted",
        plain(answer.get("revision"))
    ))
}

/// `concord touch` of several keys: absent ones are an error in the end.
pub(super) async fn touch(session: &mut Session, args: &TouchArgs) -> Result<(), CliError> {
    let items: Vec<Value> = args
        .keys
        .iter()
        .map(|key| json!({"key": key, "ttl": args.ttl}))
        .collect();
    let request = Request::post(format!("{BULK}/touch"))
        .json(&json!({ "operations": items }))
        .once(args.once.idempotency_key.as_ref());
    let answer = session.client.send(&request).await?;
    print_revision(session, &answer)?;
    let data: Value = answer.data()?;
    let results = data.get("results").and_then(Value::as_object);
    let absent: Vec<&str> = results
        .into_iter()
        .flatten()
        .filter(|(_, result)| result.is_null())
        .map(|(key, _)| key.as_str())
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    Err(CliError::Request {
        code: "not_found",
        message: format!("no such key: {}", absent.join(", ")),
    })
}

/// `concord put-many`
pub(super) async fn put(session: &mut Session, args: &PutManyArgs) -> Result<(), CliError> {
    let bytes = from_file_or_stdin(&args.file)?;
    let request = Request::post(BULK)
        .body("application/json", operations(&bytes)?.into())
        .once(args.once.idempotency_key.as_ref());
    let answer = session.client.send(&request).await?;
    print_revision(session, &answer)
}

/// `concord txn`. A compare that fails is an answer: `succeeded` tells.
pub(super) async fn txn(session: &mut Session, args: &TxnArgs) -> Result<(), CliError> {
    let body = from_file_or_stdin(&args.file)?;
    let request = Request::post("/api/v1/txn")
        .body("application/json", body)
        .once(args.once.idempotency_key.as_ref());
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let held = answer.get("succeeded").and_then(Value::as_bool) == Some(true);
    session.out.line(format!(
        "revision {}: {}",
        plain(answer.get("revision")),
        if held { "succeeded" } else { "a compare failed" }
    ))?;
    let results = answer.get("results").and_then(Value::as_array);
    results
        .into_iter()
        .flatten()
        .try_for_each(|result| session.out.json(result))
}

/// The request body for lines of JSON. They go in as they are: parsing them into numbers
/// here could round what the node keeps exactly.
fn operations(bytes: &[u8]) -> Result<String, CliError> {
    let invalid = |message: String| CliError::Request {
        code: "invalid_request",
        message,
    };
    let text = std::str::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
    let mut body = String::from("{\"operations\":[");
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    for (count, (number, line)) in lines.enumerate() {
        serde_json::from_str::<IgnoredAny>(line)
            .map_err(|error| invalid(format!("line {}: {error}", number + 1)))?;
        let separator = if count == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(body, "{separator}{line}");
    }
    body.push_str("]}");
    Ok(body)
}

impl ConditionArgs {
    fn is_some(&self) -> bool {
        self.if_absent
            || self.if_present
            || self.if_value.is_some()
            || self.if_json.is_some()
            || self.if_true.is_some()
            || self.if_mod_revision.is_some()
            || self.if_version.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_operations_digit_by_digit() {
        let lines = b"{\"key\":\"a\",\"value\":12345678901234567890123}\n\n{\"key\":\"b\",\"value\":1}\n";
        assert_eq!(
            operations(lines).unwrap(),
            r#"{"operations":[{"key":"a","value":12345678901234567890123},{"key":"b","value":1}]}"#
        );
        assert_eq!(operations(b"").unwrap(), r#"{"operations":[]}"#);
        let error = operations(b"{}\n{\n").unwrap_err();
        assert_eq!(error.code(), "invalid_request");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
