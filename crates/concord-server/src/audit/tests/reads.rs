//! Reads, refusals, and what lines say of where a request came from.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_auth::policy::{Lifetime, NewTenant, NewToken, TenantId};
use concord_auth::{Edit, Permissions, Policy, Read, Records, Secret as TokenSecret};
use concord_core::NamespaceQuota;
use concord_core::ids::Timestamp;
use tempfile::tempdir;

use super::*;
use crate::error::ErrorKind;
use crate::judge::unauthorized;
use crate::limits::{AUDIT_REFUSALS_AT_ONCE, AUDIT_REFUSALS_PER_SEC};

fn forbidden() -> Error {
    Error::new(ErrorKind::Forbidden, "viewer may not get: it needs read")
}

fn operations(dir: &Path) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let events = of_kind(dir, "event");
    let pairs = events
        .iter()
        .map(|line| (text(&line["operation"]), text(&line["result"])));
    pairs.collect()
}

async fn read(recorder: &Recorder, key: &[u8], outcome: Result<(), Error>) -> Result<(), Error> {
    let line = recorder.read(somebody, &Read::Get(key), &outcome)?;
    line.finish(outcome, |()| Some(Revision::new(3))).await
}

/// D-AUD-2: a refused read leaves a line whatever is configured; one that is answered only if it is said so.
#[tokio::test]
async fn refused_reads_leave_lines_and_others_where_configured() {
    for log_reads in [false, true] {
        let dir = tempdir().unwrap();
        let mut config = AuditConfig::new();
        config.log_reads = log_reads;
        let recorder = open(dir.path(), &config);
        assert_eq!(recorder.logs_reads(), log_reads);
        read(&recorder, b"a", Ok(())).await.unwrap();
        read(&recorder, b"b", Err(forbidden())).await.unwrap_err();
        read(&recorder, b"c", Err(unauthorized())).await.unwrap_err();
        let late = Error::new(ErrorKind::Timeout, "too late");
        read(&recorder, b"d", Err(late)).await.unwrap_err();
        recorder.close().await;
        let results: Vec<_> = operations(dir.path())
            .into_iter()
            .map(|(_, result)| result)
            .collect();
        let expected: &[&str] = match log_reads {
            false => &["forbidden", "unauthorized"],
            true => &["ok", "forbidden", "unauthorized", "timeout"],
        };
        assert_eq!(results, expected);
        assert!(of_kind(dir.path(), "event").iter().any(|line| line["key"] == "b"));
    }
}

/// Whoever asks without end, with or without a token, fills neither the disk nor the log: what leaves no line is counted.
#[tokio::test]
async fn a_flood_of_refusals_leaves_a_bounded_number_of_lines() {
    const FLOOD: u64 = 20_000;
    let dir = tempdir().unwrap();
    let recorder = open(dir.path(), &AuditConfig::new());
    let began = std::time::Instant::now();
    for _ in 0..FLOOD {
        recorder.turned_away(&unauthorized());
        read(&recorder, b"k", Err(forbidden())).await.unwrap_err();
    }
    let seconds = began.elapsed().as_secs() + 1;
    recorder.close().await;
    let most = AUDIT_REFUSALS_AT_ONCE + seconds * AUDIT_REFUSALS_PER_SEC;
    let told = of_kind(dir.path(), "refused");
    let lines = operations(dir.path());
    for result in ["unauthorized", "forbidden"] {
        let lines = lines.iter().map(|(_, told)| u64::from(told == result)).sum();
        assert!(
            (AUDIT_REFUSALS_AT_ONCE..=most).contains(&lines),
            "{lines} of {result}, at most {most}"
        );
        let counted = told.iter().filter(|line| line["result"] == result);
        let counted: u64 = counted.map(|line| line["count"].as_u64().unwrap()).sum();
        assert_eq!(lines + counted, FLOOD, "none is forgotten");
    }
    // Some at once, some at the end, and a few every ten seconds.
    assert!(
        told.len() as u64 <= 2 * (seconds / 10 + 3),
        "{} lines in {seconds} s",
        told.len()
    );
    assert!(verify(dir.path(), &AuditConfig::new()).intact);
    assert_eq!(recorder.status().lost, 0);
}

#[derive(Default)]
struct Stored(BTreeMap<Bytes, Bytes>);

impl Records for &Stored {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    fn list(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Vec<(Bytes, Bytes)> {
        Vec::new()
    }
}

impl Stored {
    fn apply(&mut self, edits: impl IntoIterator<Item = Edit>) {
        let written = edits
            .into_iter()
            .filter_map(|edit| Some((edit.key, edit.record?)));
        self.0.extend(written);
    }
}

/// Somebody of a tenant.
fn of_tenant(id: &str) -> Arc<Principal> {
    let now = Timestamp::new(1);
    let mut stored = Stored::default();
    let id = TenantId::new(id).unwrap();
    let tenant = NewTenant {
        id: id.clone(),
        name: None,
        quota: NamespaceQuota::UNLIMITED,
        now,
    };
    let change = Policy::new(&stored, 1).create_tenant(&tenant).unwrap();
    stored.apply(change.edits);
    let secret = TokenSecret::parse(&format!("sk_concord_{}", "A".repeat(43))).unwrap();
    let token = NewToken {
        hash: secret.hash(),
        name: None,
        lifetime: Lifetime {
            now,
            expires_at: None,
        },
        permissions: Permissions::NONE,
        roles: vec![id.role().clone()],
    };
    let edits = Policy::new(&stored, 2).create_token(&token).unwrap();
    stored.apply(edits);
    Arc::new(Policy::new(&stored, 3).authenticate(&secret, now).unwrap())
}

/// A line names the tenant of who asks, and where the request came from: all that is done for it, and nothing else.
#[cfg(feature = "http")]
#[tokio::test]
async fn lines_name_the_tenant_the_source_and_the_trace() {
    use crate::audit::filter::Filter;
    use crate::audit::origin::Origin;
    let dir = tempdir().unwrap();
    let recorder = open(dir.path(), &AuditConfig::new());
    let origin = Origin::new(
        Some("192.0.2.7".parse().unwrap()),
        Some("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"),
        Some("req-\"7\""),
    );
    let acme = of_tenant("acme");
    let write = async {
        let line = recorder
            .begin(|| Some(Arc::clone(&acme)), &delete("acme:1"))
            .unwrap();
        line.finish(Ok(()), |()| None).await.unwrap();
    };
    origin.scope(write).await;
    record(&recorder, "other").await.unwrap();
    recorder.close().await;
    let events = of_kind(dir.path(), "event");
    let [of_acme, other] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(of_acme["tenant"], "acme");
    assert_eq!(of_acme["source"], "192.0.2.7");
    assert_eq!(of_acme["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(of_acme["span_id"], "00f067aa0ba902b7");
    assert_eq!(of_acme["request_id"], "req-\"7\"");
    for field in ["tenant", "source", "trace_id", "span_id", "request_id"] {
        assert!(other.get(field).is_none(), "{field}");
    }
    let filter = Filter {
        tenant: Some("acme".to_owned()),
        ..Filter::default()
    };
    let wanted = lines(dir.path())
        .into_iter()
        .filter(|line| filter.wants(line.as_bytes(), None));
    assert_eq!(wanted.count(), 1);
}

/// A range is anybody's text: of a bound that is longer than keys are only the beginning is kept, and how long it was; no
/// part of one is shown where keys are hidden.
#[tokio::test]
async fn a_line_shows_a_bounded_part_of_a_range() {
    use concord_core::KeyRange;
    use concord_core::limits::KEY_BYTES_MAX;
    let long = "s".repeat(3 * KEY_BYTES_MAX);
    let range = KeyRange::between(long.clone(), vec![0xff; KEY_BYTES_MAX + 1]);
    for hide in [false, true] {
        let dir = tempdir().unwrap();
        let mut config = keyed(AuditConfig::new());
        config.log_reads = true;
        if hide {
            config.key_mode = crate::config::AuditKeyMode::Hash;
        }
        let recorder = open(dir.path(), &config);
        let outcome = Ok(());
        let line = recorder.read(somebody, &Read::Scan(&range), &outcome).unwrap();
        line.finish(outcome, |()| None).await.unwrap();
        recorder.close().await;
        let line = &of_kind(dir.path(), "event")[0]["range"];
        let fields: Vec<_> = line.as_object().unwrap().keys().collect();
        if hide {
            assert_eq!(fields, ["end_hash", "start_hash"]);
        } else {
            assert_eq!(fields, ["end_base64", "start", "start_bytes"]);
            assert_eq!(line["start"], long[..=KEY_BYTES_MAX]);
            assert_eq!(line["start_bytes"], long.len());
        }
    }
}
