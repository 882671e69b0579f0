//! Commands about one key.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::args::{ConditionArgs, DeleteArgs, GetArgs, IncrArgs, KeyArgs, PutArgs, ReadArgs, TouchArgs};
use super::error::CliError;
use super::output::plain;
use super::{Session, bulk};
use crate::client::{Answer, Request};
use concord_query::duration;

/// A value that is read from a file or a pipe may have this many bytes. The cluster's own
/// limit is lower; this one keeps a wrong pipe from filling the memory.
const INPUT_BYTES_MAX: u64 = 1 << 30;

const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const BINARY: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// `concord get`
pub(super) async fn get(session: &mut Session, args: &GetArgs) -> Result<(), CliError> {
    let [key] = args.keys.as_slice() else {
        return bulk::get(session, args).await;
    };
    let request = with_read(Request::get(path(key)?), &args.read);
    if session.out.is_json() {
        if args.raw {
            return Err(CliError::Usage("--raw is not JSON".to_owned()));
        }
        let answer = ask_about(session, key, &request.accept(JSON)).await?;
        return session.out.json(&answer.data()?);
    }
    // The value itself: what it is stands in the media type.
    let answer = ask_about(session, key, &request.accept(BINARY)).await?;
    if args.raw {
        return session.out.bytes(&answer.body);
    }
    print_value(session, &answer)
}

/// Asks, and says which key it is that there is not.
pub(super) async fn ask_about(session: &Session, key: &str, request: &Request) -> Result<Answer, CliError> {
    match session.client.send(request).await {
        Err(error) if error.code() == "not_found" => Err(CliError::Request {
            code: "not_found",
            message: format!("no such key: {key}"),
        }),
        answer => Ok(answer?),
    }
}

fn print_value(session: &mut Session, answer: &Answer) -> Result<(), CliError> {
    let text = std::str::from_utf8(&answer.body).ok();
    match (answer.media_type(), text) {
        (JSON, Some(text)) => session.out.line(pretty(text)),
        ("text/plain", Some(text)) => session.out.line(text),
        _ if session.is_watched() => Err(CliError::Usage(format!(
            "the value is {} bytes that are no text: use --raw, or --output json",
            answer.body.len()
        ))),
        _ => session.out.bytes(&answer.body),
    }
}

fn pretty(json: &str) -> String {
    let value: Option<Value> = serde_json::from_str(json).ok();
    value
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| json.to_owned())
}

/// `concord put`
pub(super) async fn put(session: &mut Session, args: &PutArgs) -> Result<(), CliError> {
    let bytes = input(args)?;
    let request = only_if(Request::put(path(&args.key)?), &args.only)?
        .query("lease", args.lease)
        .query("compress", args.compress)
        .once(args.once.idempotency_key.as_ref());
    let request = if args.format.json {
        request.body(JSON, document(&bytes, args.ttl.as_deref())?)
    } else {
        let is_text = args.format.text || (!args.format.binary && std::str::from_utf8(&bytes).is_ok());
        request
            .query("ttl", args.ttl.as_deref())
            .body(if is_text { TEXT } else { BINARY }, bytes)
    };
    let answer = session.client.send(&request).await?;
    print_revision(session, &answer)
}

fn input(args: &PutArgs) -> Result<Bytes, CliError> {
    match (&args.file, args.value.as_deref()) {
        (Some(path), _) => from_file(path),
        (None, Some("-")) => from_stdin(),
        (None, value) => Ok(Bytes::from(value.unwrap_or_default().to_owned())),
    }
}

/// What a file holds.
fn from_file(path: &Path) -> Result<Bytes, CliError> {
    let what = path.display().to_string();
    let mut file = std::fs::File::open(path).map_err(|e| CliError::io(&what, e))?;
    read_all(&what, &mut file)
}

/// What comes in by standard input.
fn from_stdin() -> Result<Bytes, CliError> {
    read_all("standard input", &mut std::io::stdin().lock())
}

/// What a file holds, or standard input for `-`.
pub(super) fn from_file_or_stdin(path: &Path) -> Result<Bytes, CliError> {
    if path == Path::new("-") {
        from_stdin()
    } else {
        from_file(path)
    }
}

fn read_all(what: &str, source: &mut dyn Read) -> Result<Bytes, CliError> {
    let mut bytes = Vec::new();
    source
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| CliError::io(what, e))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        let message = format!("{what} has more than {INPUT_BYTES_MAX} bytes");
        return Err(CliError::Request {
            code: "value_too_large",
            message,
        });
    }
    Ok(Bytes::from(bytes))
}

/// Adds the condition of a write.
fn only_if(request: Request, only: &ConditionArgs) -> Result<Request, CliError> {
    let expected = match (&only.if_value, &only.if_json) {
        (Some(text), _) => Some(json!(text).to_string()),
        (None, Some(document)) => {
            check_json(document)?;
            Some(document.clone())
        }
        (None, None) => None,
    };
    Ok(request
        .query("absent", only.if_absent.then_some(true))
        .query("present", only.if_present.then_some(true))
        .query("where", only.if_true.as_deref())
        .query("mod_revision", only.if_mod_revision)
        .query("version", only.if_version)
        .query("expected_format", only.if_json.as_ref().map(|_| "document"))
        .query("expected", expected))
}

fn check_json(text: &str) -> Result<(), CliError> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => Err(CliError::Request {
            code: "invalid_value",
            message: format!("the value is not JSON: {error}"),
        }),
    }
}

/// The request body for a document. The text goes in as it is: parsing it into numbers
/// here could round what the node keeps exactly.
fn document(bytes: &[u8], ttl: Option<&str>) -> Result<Bytes, CliError> {
    let text = std::str::from_utf8(bytes).map_err(|error| CliError::Request {
        code: "invalid_value",
        message: format!("the value is not JSON: {error}"),
    })?;
    check_json(text)?;
    let ttl = ttl.map_or_else(String::new, |ttl| format!(",\"ttl\":{}", json!(ttl)));
    Ok(format!("{{\"value\":{text},\"format\":\"document\"{ttl}}}").into())
}

/// `concord delete`
pub(super) async fn delete(session: &mut Session, args: &DeleteArgs) -> Result<(), CliError> {
    let [key] = args.keys.as_slice() else {
        return bulk::delete(session, args).await;
    };
    let name = args.once.idempotency_key.as_ref();
    let request = only_if(Request::delete(path(key)?), &args.only)?.once(name);
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    if answer.get("existed").and_then(Value::as_bool) == Some(false) {
        return session.out.line("nothing to delete");
    }
    session
        .out
        .line(format!("revision {}", plain(answer.get("revision"))))
}

/// `concord touch`
pub(super) async fn touch(session: &mut Session, args: &TouchArgs) -> Result<(), CliError> {
    let [key] = args.keys.as_slice() else {
        return bulk::touch(session, args).await;
    };
    let body = json!({ "ttl": args.ttl });
    let name = args.once.idempotency_key.as_ref();
    let request = Request::post(format!("{}/touch", path(key)?))
        .json(&body)
        .once(name);
    let answer = ask_about(session, key, &request).await?;
    print_revision(session, &answer)
}

/// `concord incr`
pub(super) async fn increment(session: &mut Session, args: &IncrArgs) -> Result<(), CliError> {
    let body = json!({ "delta": args.by });
    let name = args.once.idempotency_key.as_ref();
    let request = Request::post(format!("{}/increment", path(&args.key)?))
        .json(&body)
        .once(name);
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session.out.line(plain(answer.get("value")))
}

/// `concord ttl`
pub(super) async fn ttl(session: &mut Session, args: &KeyArgs) -> Result<(), CliError> {
    let request = Request::get(format!("{}/ttl", path(&args.key)?));
    let answer: Value = ask_about(session, &args.key, &request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let left = answer
        .get("ttl_ms")
        .and_then(Value::as_u64)
        .map(std::time::Duration::from_millis);
    session
        .out
        .line(left.map_or_else(|| "never expires".to_owned(), duration::format))
}

pub(super) fn print_revision(session: &mut Session, answer: &Answer) -> Result<(), CliError> {
    let answer: Value = answer.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session
        .out
        .line(format!("revision {}", plain(answer.get("revision"))))
}

/// Asks for the promise and the time of a read.
pub(super) fn with_read(request: Request, read: &ReadArgs) -> Request {
    request
        .query(
            "consistency",
            read.consistency.map(super::args::Consistency::name),
        )
        .query("revision", read.revision)
        .query("min_revision", read.min_revision)
}

/// Asks for a page of a read, the first or what `cursor` leads to.
pub(super) fn with_page(request: Request, cursor: Option<&str>, read: &ReadArgs) -> Request {
    let request = request.query("cursor", cursor);
    match cursor {
        // The cursor has the revision of its first page, and takes no other.
        Some(_) => with_read(
            request,
            &ReadArgs {
                revision: None,
                ..read.clone()
            },
        ),
        None => with_read(request, read),
    }
}

/// The path of a key.
pub(super) fn path(key: &str) -> Result<String, CliError> {
    let refused = |message: &str| {
        Err(CliError::Request {
            code: "invalid_key",
            message: message.to_owned(),
        })
    };
    match key {
        "" => refused("key is empty"),
        // Every HTTP client takes these for steps between directories, however they are spelt.
        "." | ".." => refused("the keys `.` and `..` cannot stand in a path"),
        // The path of its own name is that of the bulk requests.
        "bulk" => Ok("/api/v1/kv/%62ulk".to_owned()),
        _ => Ok(format!("/api/v1/kv/{}", crate::client::encode(key))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_segment_of_a_path_whatever_they_hold() {
        assert_eq!(path("a/b c?é").unwrap(), "/api/v1/kv/a%2Fb%20c%3F%C3%A9");
        assert_eq!(path("..x").unwrap(), "/api/v1/kv/..x");
        for key in ["", ".", ".."] {
            assert_eq!(path(key).unwrap_err().code(), "invalid_key", "{key:?}");
        }
    }

    #[test]
    fn documents_keep_their_digits() {
        let body = document(b"{\"n\": 12345678901234567890123}", Some("5s")).unwrap();
        assert_eq!(
            body,
            r#"{"value":{"n": 12345678901234567890123},"format":"document","ttl":"5s"}"#
        );
        assert_eq!(document(b"{\"n\": }", None).unwrap_err().code(), "invalid_value");
        assert_eq!(
            document(b"1} , \"ttl\": {", None).unwrap_err().code(),
            "invalid_value"
        );
        assert_eq!(document(b"\xff", None).unwrap_err().code(), "invalid_value");
    }
}
