//! What lines say.

use concord_auth::{Action, AdminAction, ReadAction};
use concord_core::value::Value;
use concord_core::{Lifetime, PutItem};
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::audit::body::{Answered, Body};
use crate::audit::chain::{Hash, Keys, Seal};
use crate::audit::event::{Audited as _, Facts, put_target};
use crate::audit::filter::Filter;
use crate::audit::line::{Chain, Sealed};
use crate::audit::time::Stamp;
use crate::config::AuditKeyMode;
use crate::error::{Detail, ErrorKind};

fn chain(seal: Seal) -> Chain {
    Chain {
        log: "00000000000000ab".to_owned(),
        node: 7,
        seal,
        seq: 4,
        head: Hash::NONE,
        stamp: Stamp::new(),
    }
}

fn line_of(command: &Command, hide: Option<&Keys>) -> String {
    line_with(command, hide, Vec::new())
}

fn line_with(command: &Command, hide: Option<&Keys>, more: Facts) -> String {
    let mut facts = command.facts();
    facts.extend(more);
    let operation = concord_auth::Request::action(command).name();
    let about = |bytes: &mut Vec<u8>| put_target(bytes, command, hide);
    let mut body = Body::new(operation, about, somebody().as_deref(), &facts);
    let answered = Answered {
        time: 1_795_326_549_123_456,
        result: "ok",
        revision: Some(Revision::new(9)),
        took_micros: 250,
        origin: None,
    };
    let (event, bytes) = body.answered(&answered);
    let mut out = Vec::new();
    chain(Seal::Plain).append_event(&mut out, &event, bytes);
    String::from_utf8(out).unwrap()
}

fn put(key: &str) -> Command {
    Command::Put {
        key: Key::try_from(key).unwrap(),
        value: Value::binary(b"CANARY-VALUE".to_vec()).into(),
        lifetime: Lifetime::Ttl(concord_core::Millis::new(1_500)),
        condition: None,
        return_previous: false,
    }
}

#[test]
fn numbers_have_all_their_digits_and_no_more() {
    let mut numbers = vec![0, u64::MAX];
    let powers = (0..20).map(|digits| 10_u64.pow(digits));
    numbers.extend(powers.flat_map(|power| [power - 1, power, power + 1, power.saturating_mul(7)]));
    for number in numbers {
        let mut text = Vec::new();
        crate::audit::line::Fields::more(&mut text).number("n", number);
        assert_eq!(String::from_utf8(text).unwrap(), format!(",\"n\":{number}"));
    }
}

/// The format that others parse: changed only together with its version.
#[test]
fn a_line_is_written_as_documented() {
    let line = line_of(&put("user:7"), None);
    assert_eq!(
        line,
        "{\"seq\":5,\"kind\":\"event\",\"id\":\"00000000000000ab-5\",\"time\":\"2026-11-22T05:49:09.123456Z\",\
         \"operation\":\"put\",\"key\":\"user:7\",\"result\":\"ok\",\"principal\":{\"kind\":\"embedder\"},\"node\":7,\
         \"revision\":9,\"took_us\":250,\"metadata\":{\"ttl_ms\":1500},\
         \"hash\":\"e51c1312317b16730abf89cfc6660ff115389ee8fdabff8bd7b2d8945ee59b31\"}\n"
    );
    let sealed = Sealed::parse(line.trim_end().as_bytes()).unwrap();
    assert_eq!(sealed.seq, 5);
    assert!(sealed.is_event);
}

proptest! {
    /// D-AUD-1: whatever bytes a key and a name are made of, the line is one line, and JSON that gives them back.
    #[test]
    fn any_key_and_any_text_make_a_line(key in prop::collection::vec(any::<u8>(), 1..64), text in "\\PC*|[\\x00-\\x7f]*") {
        let line = line_with(&delete(&key), None, vec![("note", Detail::Text(text.clone()))]);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(parsed["metadata"]["note"].as_str(), Some(text.as_str()));
        let filter = Filter { key: Some(key), ..Filter::default() };
        prop_assert!(filter.wants(line.trim_end().as_bytes(), None));
    }
}

/// D-AUD-1: a request about many keys is one bounded line, which still tells one list of keys from another.
#[test]
fn many_keys_are_counted_shown_in_part_and_hashed() {
    let many = |last: &str| {
        let keys = (0..499).map(|number| Key::copy_of(format!("{number:0>1000}").as_bytes()).unwrap());
        let keys = keys.chain([Key::try_from(last).unwrap()]).collect();
        line_of(&Command::DeleteMany { keys }, None)
    };
    let (one, other) = (many("a"), many("b"));
    assert!(one.len() < 20_000, "{}", one.len());
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    let other: serde_json::Value = serde_json::from_str(&other).unwrap();
    assert_eq!(one["keys"]["count"], 500);
    assert_eq!(one["keys"]["first"].as_array().unwrap().len(), 16);
    assert_ne!(one["keys"]["hash"], other["keys"]["hash"]);
}

/// D-SEC-11: no value, and no key where keys are hidden.
#[test]
fn lines_tell_no_values_and_hide_keys_if_told_to() {
    let keys = Keys::derive(b"a secret of the auditors");
    let many = Command::PutMany {
        items: ["CANARY-KEY-1", "CANARY-KEY-2"]
            .map(|key| PutItem {
                key: Key::try_from(key).unwrap(),
                value: Value::text("CANARY-VALUE").into(),
                lifetime: Lifetime::Forever,
            })
            .into(),
    };
    for command in [put("CANARY-KEY"), many] {
        let shown = line_of(&command, None);
        assert!(!shown.contains("CANARY-VALUE"), "{shown}");
        assert!(shown.contains("CANARY-KEY"), "{shown}");
        let hidden = line_of(&command, Some(&keys));
        assert!(!hidden.contains("CANARY"), "{hidden}");
    }
    let hidden = line_of(&put("user:7"), Some(&keys));
    let wants = |key: &str, keys: &Keys| {
        let filter = Filter {
            key: Some(key.into()),
            ..Filter::default()
        };
        filter.wants(hidden.trim_end().as_bytes(), Some(keys))
    };
    assert!(wants("user:7", &keys), "who has the secret finds it");
    assert!(!wants("user:8", &keys));
    assert!(!wants("user:7", &Keys::derive(b"another secret")));
}

/// What a line was written for, so that no two of these are mistaken for each other. Exhaustive: a new action has to be
/// put here.
fn all_actions() -> Vec<Action> {
    use AdminAction as A;
    use ReadAction as R;
    let next = |action| match action {
        Action::Put => Action::Delete,
        Action::Delete => Action::Touch,
        Action::Touch => Action::Increment,
        Action::Increment => Action::Compact,
        Action::Compact => Action::Configure,
        Action::Configure => Action::CreateIndex,
        Action::CreateIndex => Action::DropIndex,
        Action::DropIndex => Action::Reindex,
        Action::Reindex => Action::CreateSubscription,
        Action::CreateSubscription => Action::DeleteSubscription,
        Action::DeleteSubscription => Action::AckSubscription,
        Action::AckSubscription => Action::ResetSubscription,
        Action::ResetSubscription => Action::PutMany,
        Action::PutMany => Action::DeleteMany,
        Action::DeleteMany => Action::DeleteWhere,
        Action::DeleteWhere => Action::TouchMany,
        Action::TouchMany => Action::Txn,
        Action::Txn => Action::LeaseGrant,
        Action::LeaseGrant => Action::LeaseKeepAlive,
        Action::LeaseKeepAlive => Action::LeaseRevoke,
        Action::LeaseRevoke => Action::EditPolicy,
        Action::EditPolicy => Action::Admin(A::ChangeMembers),
        Action::Admin(A::ChangeMembers) => Action::Admin(A::TransferLeadership),
        Action::Admin(A::TransferLeadership) => Action::Admin(A::Snapshot),
        Action::Admin(A::Snapshot) => Action::Admin(A::Backup),
        Action::Admin(A::Backup) => Action::Admin(A::Restore),
        Action::Admin(A::Restore) => Action::Read(R::Get),
        Action::Read(R::Get) => Action::Read(R::Scan),
        Action::Read(R::Scan) => Action::Read(R::Lookup),
        Action::Read(R::Lookup) => Action::Read(R::Query),
        Action::Read(R::Query) => Action::Read(R::ListIndexes),
        Action::Read(R::ListIndexes) => Action::Read(R::History),
        Action::Read(R::History) => Action::Read(R::Lease),
        Action::Read(R::Lease) => Action::Read(R::Watch),
        Action::Read(R::Watch) => Action::Read(R::Subscriptions),
        Action::Read(R::Subscriptions) => Action::Read(R::ListSubscriptions),
        Action::Read(R::ListSubscriptions) => Action::Read(R::ListWatches),
        Action::Read(R::ListWatches) => Action::Read(R::Status),
        Action::Read(R::Status) => Action::Read(R::Settings),
        Action::Read(R::Settings) => Action::Read(R::Audit),
        Action::Read(R::Audit) => Action::Read(R::Explain),
        Action::Read(R::Explain) => Action::Read(R::Policy),
        Action::Read(R::Policy) => Action::Read(R::Usage),
        Action::Read(R::Usage) => Action::Read(R::Whoami),
        Action::Read(R::Whoami) => Action::Put,
    };
    let mut all = vec![Action::Put];
    loop {
        let following = next(all[all.len() - 1]);
        if following == Action::Put {
            return all;
        }
        all.push(following);
    }
}

/// D-AUD-2: every action there is has a name of its own in lines.
#[test]
fn every_action_has_a_name_of_its_own() {
    let mut names: Vec<&str> = all_actions().into_iter().map(Action::name).collect();
    assert!(names.len() > 30);
    let is_word = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    assert!(names.iter().all(is_word), "{names:?}");
    names.sort_unstable();
    names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
}

#[tokio::test]
async fn what_came_of_a_request_is_in_its_line() {
    let dir = tempdir().unwrap();
    let recorder = open(dir.path(), &AuditConfig::new());
    record(&recorder, "a").await.unwrap();
    let line = recorder.begin(|| None::<Arc<Principal>>, &delete("b")).unwrap();
    let refused: Result<(), Error> = Err(Error::new(ErrorKind::Forbidden, "SECRET-TEXT"));
    line.finish(refused, |()| None).await.unwrap_err();
    // The caller went away before there was an answer.
    drop(recorder.begin(somebody, &delete("c")).unwrap());
    recorder.close().await;
    let events = of_kind(dir.path(), "event");
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event["key"].as_str().unwrap(),
                event["result"].as_str().unwrap(),
                event["principal"]["kind"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", "ok", "embedder"),
            ("b", "forbidden", "unknown"),
            ("c", "outcome_unknown", "embedder")
        ]
    );
    assert_eq!(events[0]["revision"], 3);
    assert!(events[1].get("revision").is_none());
    assert!(
        !lines(dir.path()).concat().contains("SECRET-TEXT"),
        "messages may show data"
    );
    assert!(verify(dir.path(), &AuditConfig::new()).intact);
}

/// D-AUD-4: pages are newest first and lead to every line, over all files; an export has all of them.
#[tokio::test]
async fn pages_lead_to_every_line_and_an_export_has_all() {
    let dir = tempdir().unwrap();
    written(dir.path(), &small(), 150).await;
    assert!(files::list(dir.path()).unwrap().len() > 5);
    let all = lines(dir.path());
    for newest_first in [true, false] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = read::page(dir.path(), &Filter::default(), None, newest_first, 7, after).unwrap();
            assert!(page.lines.len() <= 7);
            found.extend(page.lines);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if newest_first {
            found.reverse();
        }
        assert_eq!(found, all);
    }
    let mut exported = Vec::new();
    read::export(dir.path(), &Filter::default(), None, |chunk| {
        exported.extend(chunk);
        true
    })
    .unwrap();
    assert_eq!(
        String::from_utf8(exported).unwrap(),
        all.iter().map(|line| format!("{line}\n")).collect::<String>()
    );
}

#[tokio::test]
async fn filters_find_what_they_name_and_nothing_else() {
    let dir = tempdir().unwrap();
    let config = AuditConfig::new();
    let recorder = open(dir.path(), &config);
    record_many(&recorder, 3).await;
    let line = recorder.begin(somebody, &put("other:1")).unwrap();
    let failed: Result<(), Error> = Err(Error::new(ErrorKind::Timeout, ""));
    line.finish(failed, |()| None).await.unwrap_err();
    recorder.close().await;
    let count = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        read::page(dir.path(), &filter, None, true, 100, None)
            .unwrap()
            .lines
            .len()
    };
    assert_eq!(count(|_| {}), 6, "with the header and the end");
    assert_eq!(count(|filter| filter.operation = Some("delete".into())), 3);
    assert_eq!(count(|filter| filter.result = Some("error".into())), 1);
    assert_eq!(count(|filter| filter.result = Some("timeout".into())), 1);
    assert_eq!(count(|filter| filter.result = Some("denied".into())), 0);
    assert_eq!(count(|filter| filter.prefix = Some(b"key:".to_vec())), 3);
    assert_eq!(count(|filter| filter.prefix = Some(b"key:001".to_vec())), 1);
    assert_eq!(count(|filter| filter.key = Some(b"other:1".to_vec())), 1);
    assert_eq!(count(|filter| filter.principal = Some("embedder".into())), 4);
    assert_eq!(count(|filter| filter.principal = Some("ada".into())), 0);
    assert_eq!(count(|filter| filter.tenant = Some("acme".into())), 0);
    assert_eq!(count(|filter| filter.upto = Some(1)), 0);
    assert_eq!(count(|filter| filter.from = Some(1)), 6);
}

#[tokio::test]
async fn hidden_keys_are_in_no_file() {
    let dir = tempdir().unwrap();
    let mut config = keyed(AuditConfig::new());
    config.key_mode = AuditKeyMode::Hash;
    written(dir.path(), &config, 3).await;
    let text = lines(dir.path()).concat();
    assert!(!text.contains("key:00") && !text.contains("auditors"), "{text}");
    assert!(verify(dir.path(), &config).intact);
}
