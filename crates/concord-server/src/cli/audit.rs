//! The audit log: that of a running node, or files in a directory.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use concord_query::duration;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Session;
use super::args::{AuditCommand, AuditDirArgs, AuditFilterArgs, AuditQueryArgs, AuditVerifyArgs};
use super::error::CliError;
use super::output::{cell, plain};
use crate::audit::{AuditCursor, AuditDirectory, AuditHead, Filter, Moment};
use crate::client::Request;
use crate::config::Secret;

const AUDIT: &str = "/api/v1/audit";

/// `concord audit ...`
pub(super) async fn run(session: &mut Session, command: &AuditCommand) -> Result<(), CliError> {
    // Every node has a log of its own.
    session.client = session.client.first_only();
    match command {
        AuditCommand::Query(args) => query(session, args).await,
        AuditCommand::Export(args) => match &args.place.dir {
            Some(dir) => export_files(session, dir, &args.place, &args.filter),
            None => {
                let request = filtered(Request::get(AUDIT), &args.filter)?;
                export(session, &request).await
            }
        },
        AuditCommand::Verify(args) => verify(session, args).await,
        AuditCommand::Status(_) => {
            let answer: Value = session
                .client
                .send(&Request::get(format!("{AUDIT}/status")))
                .await?
                .data()?;
            if session.out.is_json() {
                return session.out.json(&answer);
            }
            let fields = [
                "enabled",
                "lines",
                "bytes",
                "lost",
                "failure",
                "file",
                "last_seq",
                "last_hash",
            ];
            session
                .out
                .facts(fields.map(|field| (field, plain(answer.get(field)))))
        }
    }
}

async fn query(session: &mut Session, args: &AuditQueryArgs) -> Result<(), CliError> {
    let (lines, cursor) = match &args.place.dir {
        Some(dir) => {
            let cursor = args.cursor.as_deref().map(str::parse::<AuditCursor>).transpose();
            let cursor = cursor.map_err(|error| CliError::Usage(error.to_string()))?;
            let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
            let page = directory(dir, args.place.secret_file.as_slice())?
                .page(&filter(&args.filter)?, args.oldest, limit, cursor)
                .map_err(|error| CliError::io(dir.display().to_string(), error))?;
            let lines = page
                .lines
                .iter()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line)));
            (lines.collect(), page.cursor.map(|cursor| cursor.to_string()))
        }
        None => {
            let request = filtered(Request::get(AUDIT), &args.filter)?
                .query("first", args.oldest.then_some("oldest"))
                .query("limit", Some(args.limit))
                .query("cursor", args.cursor.as_ref());
            let mut answer: Value = session.client.send(&request).await?.data()?;
            if session.out.is_json() {
                return session.out.json(&answer);
            }
            let cursor = answer
                .get("next_cursor")
                .and_then(Value::as_str)
                .map(str::to_owned);
            let lines = answer
                .get_mut("lines")
                .and_then(Value::as_array_mut)
                .map(std::mem::take);
            (lines.unwrap_or_default(), cursor)
        }
    };
    if session.out.is_json() {
        return session
            .out
            .json(&json!({ "lines": lines, "next_cursor": cursor }));
    }
    let head = ["TIME", "WHO", "OPERATION", "ABOUT", "RESULT", "REVISION"];
    session.out.table(&head, lines.iter().map(row))?;
    match cursor {
        Some(cursor) => session.out.line(format!("more: --cursor {cursor}")),
        None => Ok(()),
    }
}

/// A line for people.
fn row(line: &Value) -> Vec<String> {
    let who = line.get("principal").map(|who| {
        let field = |name| who.get(name).filter(|value| !value.is_null());
        plain(field("name").or(field("id")).or(field("kind")))
    });
    let kind = plain(line.get("kind"));
    let operation = match kind.as_str() {
        "event" => plain(line.get("operation")),
        other => format!("({other})"),
    };
    [
        plain(line.get("time")),
        who.unwrap_or_default(),
        operation,
        about(line),
        plain(line.get("result")),
        plain(line.get("revision")),
    ]
    .map(|text| cell(&text))
    .to_vec()
}

/// What a line is about, as short as possible.
fn about(line: &Value) -> String {
    let one = |place: &Value| {
        let named = ["key", "key_base64", "key_hash"]
            .iter()
            .find_map(|name| place.get(name));
        let range = place
            .get("range")
            .map(|range| format!("{}..{}", plain(range.get("start")), plain(range.get("end"))));
        named.map(|key| plain(Some(key))).or(range)
    };
    if let Some(keys) = line.get("keys") {
        let first = keys.get("first").and_then(|first| first.get(0)).and_then(one);
        return format!(
            "{} keys, first {}",
            plain(keys.get("count")),
            first.unwrap_or_default()
        );
    }
    let metadata = || line.get("metadata").map(Value::to_string);
    one(line).or_else(metadata).unwrap_or_default()
}

/// A page as it is sent: lines byte by byte as they are in the file.
#[derive(serde::Deserialize)]
struct Page {
    lines: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// By pages, so that an answer that breaks off costs one of them.
async fn export(session: &mut Session, request: &Request) -> Result<(), CliError> {
    let mut cursor = None;
    loop {
        let asked = request
            .clone()
            .query("first", Some("oldest"))
            .query("limit", Some(1_000));
        let answer = session.client.send(&asked.query("cursor", cursor)).await?;
        let page: Page = answer.data()?;
        for line in &page.lines {
            session.out.line(line.get())?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn export_files(
    session: &mut Session,
    dir: &Path,
    place: &AuditDirArgs,
    wanted: &AuditFilterArgs,
) -> Result<(), CliError> {
    let directory = directory(dir, place.secret_file.as_slice())?;
    let mut printed = Ok(());
    let exported = directory.export(&filter(wanted)?, |chunk| {
        printed = session.out.bytes(&chunk);
        printed.is_ok()
    });
    exported.map_err(|error| CliError::io(dir.display().to_string(), error))?;
    printed
}

async fn verify(session: &mut Session, args: &AuditVerifyArgs) -> Result<(), CliError> {
    let report = match &args.dir {
        Some(dir) => {
            let noted: Result<Vec<AuditHead>, CliError> =
                args.expect.iter().map(|text| noted(text)).collect();
            let report = directory(dir, &args.secret_file)?
                .verify(noted?, args.copy)
                .map_err(|error| CliError::io(dir.display().to_string(), error))?;
            serde_json::to_value(&report).unwrap_or_default()
        }
        None => session
            .client
            .send(&Request::get(format!("{AUDIT}/verify")))
            .await?
            .data()?,
    };
    let is_intact = report.get("intact") == Some(&Value::Bool(true));
    if session.out.is_json() {
        session.out.json(&report)?;
    } else {
        let fields = [
            "intact",
            "files",
            "lines",
            "events",
            "first_seq",
            "last_seq",
            "last_hash",
            "lost",
            "files_removed",
            "torn_bytes",
            "keyed",
        ];
        session
            .out
            .facts(fields.map(|field| (field, plain(report.get(field)))))?;
        let findings = report.get("findings").and_then(Value::as_array);
        for finding in findings.into_iter().flatten() {
            let at = |field: &str| plain(finding.get(field));
            session.out.line(format!(
                "file {} line {}: {}",
                at("file"),
                at("line"),
                cell(&at("problem"))
            ))?;
        }
    }
    session.out.flush()?;
    if is_intact {
        return Ok(());
    }
    let found = plain(report.get("findings_total"));
    Err(CliError::Request {
        code: "corrupt",
        message: format!("the audit log is not what was written: {found} places"),
    })
}

/// `SEQ:HASH`
fn noted(text: &str) -> Result<AuditHead, CliError> {
    let head = text.split_once(':').and_then(|(seq, hash)| {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(AuditHead {
            seq: seq.parse().ok()?,
            hash: is_hash.then(|| hash.to_ascii_lowercase())?,
        })
    });
    head.ok_or_else(|| {
        CliError::Usage(format!(
            "--expect must be a line's number and hash, SEQ:HASH, not `{text:.80}`"
        ))
    })
}

fn directory(dir: &Path, secret_files: &[PathBuf]) -> Result<AuditDirectory, CliError> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .map(zeroize::Zeroizing::new)
            .map_err(|error| CliError::io(path.display().to_string(), error))?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    };
    let secrets: Result<Vec<Secret>, CliError> = secret_files.iter().map(read).collect();
    Ok(AuditDirectory::new(dir, &secrets?))
}

/// The filter as a node is asked for it.
fn filtered(request: Request, args: &AuditFilterArgs) -> Result<Request, CliError> {
    let (from, to) = (
        moment("--from", args.from.as_deref())?,
        moment("--to", args.to.as_deref())?,
    );
    let exact = |given: &Option<String>, moment: Option<Moment>| match (given, moment) {
        // A length of time ago means the clock of this machine.
        (Some(text), Some(moment)) if duration::parse(text).is_some() => {
            Some((moment.first / 1_000).to_string())
        }
        (given, _) => given.clone(),
    };
    Ok(request
        .query("from", exact(&args.from, from))
        .query("to", exact(&args.to, to))
        .query("principal", args.principal.as_ref())
        .query("operation", args.operation.as_ref())
        .query("result", args.result.as_ref())
        .query("key", args.key.as_ref())
        .query("prefix", args.prefix.as_ref())
        .query("tenant", args.tenant.as_ref()))
}

fn filter(args: &AuditFilterArgs) -> Result<Filter, CliError> {
    Ok(Filter {
        from: moment("--from", args.from.as_deref())?.map(|moment| moment.first),
        upto: moment("--to", args.to.as_deref())?.map(|moment| moment.last),
        principal: args.principal.clone(),
        operation: args.operation.clone(),
        result: args.result.clone(),
        key: args.key.clone().map(String::into_bytes),
        prefix: args.prefix.clone().map(String::into_bytes),
        tenant: args.tenant.clone(),
    })
}

/// A time, or a length of time ago.
fn moment(flag: &str, text: Option<&str>) -> Result<Option<Moment>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let is_date = text.contains('-');
    if let Some(ago) = duration::parse(text).filter(|_| !is_date) {
        let then = SystemTime::now()
            .checked_sub(ago)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let since = then.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        return Ok(Moment::parse(&since.as_millis().to_string()));
    }
    let moment = Moment::parse(text);
    let message = || {
        format!("{flag} must be a time such as 2026-11-22, 2026-11-22T05:49:09Z or 1h ago, not `{text:.40}`")
    };
    moment.map(Some).ok_or_else(|| CliError::Usage(message()))
}
