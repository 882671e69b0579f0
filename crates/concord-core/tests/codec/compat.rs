//! Bytes that were written once are read for ever: every format of version 1 against committed
//! bytes. Never changed: a new version adds a file and keeps this one.
//!
//! `cargo xtask golden --update` writes the file anew while a format is not released yet.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use concord_core::document::Finite;
use concord_core::expr::{Binary, Expr, Literal, Unary, Variable};
use concord_core::reply::{InvalidRequestReason, InvalidValueReason};
use concord_core::*;

use crate::golden;

const FILE: &str = "codec-v1.hex";

fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

fn rev(revision: u64) -> Revision {
    Revision::new(revision)
}

fn commands() -> Vec<(&'static str, Command)> {
    let ttl = Some(Millis::new(30_000));
    let fields = [
        ("b", Document::integer(-70_000_i64)),
        ("a", Document::Array(vec![Document::Null])),
    ];
    let object = Document::Object(fields.map(|(name, value)| (name.to_string(), value)).into());
    let document = Value::document(&object).unwrap();
    vec![
        (
            "put text",
            Command::Put {
                key: key("k"),
                value: Value::text("v").into(),
                lifetime: ttl.into(),
                condition: None,
                return_previous: true,
            },
        ),
        (
            "put document",
            Command::Put {
                key: key("k"),
                value: document.into(),
                lifetime: Lifetime::Forever,
                condition: None,
                return_previous: false,
            },
        ),
        (
            "put binary",
            Command::Put {
                key: Key::copy_of(&[0, 255]).unwrap(),
                value: Value::binary(&b"\0\xff"[..]).into(),
                lifetime: Lifetime::Forever,
                condition: None,
                return_previous: false,
            },
        ),
        (
            "delete",
            Command::Delete {
                key: key("k"),
                condition: None,
                return_previous: true,
            },
        ),
        (
            "touch",
            Command::Touch {
                key: key("k"),
                lifetime: ttl.into(),
            },
        ),
        (
            "touch for ever",
            Command::Touch {
                key: key("k"),
                lifetime: Lifetime::Forever,
            },
        ),
        (
            "increment",
            Command::Increment {
                key: key("k"),
                delta: i64::MIN,
                ttl,
            },
        ),
    ]
}

fn administration() -> Vec<(&'static str, Command)> {
    let compaction = Compaction {
        keep_ms: None,
        keep_revisions: Some(500),
        keep_bytes: Some(1 << 30),
    };
    let settings = Settings {
        value_bytes_max: 1 << 20,
        compaction,
    };
    vec![
        ("compact", Command::Compact { revision: rev(300) }),
        ("configure", Command::Configure(settings)),
        ("configure initial", Command::Configure(Settings::INITIAL)),
    ]
}

fn answers() -> Vec<(&'static str, Reply)> {
    let record = Record {
        key: key("k"),
        value: Value::text("v"),
        create_revision: rev(2),
        mod_revision: rev(300),
        version: 7,
        expires_at: Some(Timestamp::new(1_800_000_000_000)),
        lease: Some(LeaseId::new(9)),
    };
    let previous = Some(record);
    vec![
        (
            "written",
            Reply::Written {
                revision: rev(301),
                previous: previous.clone().map(Into::into),
            },
        ),
        (
            "written new",
            Reply::Written {
                revision: rev(2),
                previous: None,
            },
        ),
        (
            "deleted",
            Reply::Deleted {
                revision: rev(302),
                existed: true,
                previous: previous.map(Into::into),
            },
        ),
        (
            "deleted nothing",
            Reply::Deleted {
                revision: rev(302),
                existed: false,
                previous: None,
            },
        ),
        (
            "touched",
            Reply::Touched {
                revision: rev(3),
                expires_at: Some(Timestamp::new(5)),
            },
        ),
        (
            "touched for ever",
            Reply::Touched {
                revision: rev(3),
                expires_at: None,
            },
        ),
        (
            "incremented",
            Reply::Incremented {
                revision: rev(3),
                value: -1,
            },
        ),
        ("compacted", Reply::Compacted { revision: rev(3) }),
        ("configured", Reply::Configured { revision: rev(3) }),
    ]
}

fn refusals() -> Vec<(&'static str, Reply)> {
    let rejected = |rejection| Reply::Rejected(rejection);
    let value = |reason| Reply::Rejected(Rejection::InvalidValue { reason });
    let request = |reason| Reply::Rejected(Rejection::InvalidRequest { reason });
    vec![
        ("empty key", rejected(Rejection::InvalidKey(InvalidKey::Empty))),
        (
            "long key",
            rejected(Rejection::InvalidKey(InvalidKey::TooLong { size_bytes: 2_000 })),
        ),
        ("invalid ttl", rejected(Rejection::InvalidTtl { ttl_ms: 0 })),
        ("not utf-8", value(InvalidValueReason::NotUtf8)),
        ("not canonical", value(InvalidValueReason::NotCanonical)),
        ("not an integer", value(InvalidValueReason::NotAnInteger)),
        ("overflow", value(InvalidValueReason::Overflow)),
        (
            "value too large",
            rejected(Rejection::ValueTooLarge {
                size_bytes: 9,
                limit_bytes: 8,
            }),
        ),
        ("malformed", request(InvalidRequestReason::Malformed)),
        (
            "setting out of range",
            request(InvalidRequestReason::SettingOutOfRange),
        ),
        ("not found", rejected(Rejection::NotFound)),
        (
            "compacted already",
            rejected(Rejection::Compacted {
                compact_revision: rev(4),
            }),
        ),
        (
            "future revision",
            rejected(Rejection::FutureRevision { revision: rev(4) }),
        ),
        (
            "unsupported",
            rejected(Rejection::Unsupported { version: 2, code: 0 }),
        ),
        ("session expired", rejected(Rejection::SessionExpired)),
    ]
}

fn replies() -> impl Iterator<Item = (&'static str, Reply)> {
    answers().into_iter().chain(refusals())
}

fn expressions() -> Vec<(&'static str, Expression)> {
    let value = || Expr::Variable(Variable::Value);
    let adult = value()
        .field("age")
        .with(Binary::GreaterOrEqual, Expr::integer(18_u64));
    let tag = Expr::string("é").with(Binary::In, value().field("tags"));
    let absent = Expr::Unary(
        Unary::Not,
        Box::new(Expr::Has(Box::new(value()), Box::new(Expr::integer(-1_i64)))),
    );
    let live = Expr::Any(vec![
        Expr::Variable(Variable::Ttl).with(Binary::Equal, Expr::Literal(Literal::Null)),
        Expr::Variable(Variable::TtlMs).with(Binary::Greater, Expr::integer(300_u64)),
    ]);
    let half = Expr::Literal(Literal::Float(Finite::new(0.5).unwrap()));
    let branch = Expr::Conditional(Box::new([
        Expr::Literal(Literal::Bool(true)),
        Expr::List(vec![half, Expr::Literal(Literal::Bytes(vec![0xff]))]),
        Expr::Literal(Literal::Bool(false)),
    ]));
    let checked = |tree| Expression::new(tree).unwrap();
    vec![
        ("predicate", checked(Expr::All(vec![adult, tag, absent, live]))),
        ("branch", checked(branch)),
    ]
}

fn batch() -> Batch {
    let group = |session, opens, requests| Group {
        session: SessionId::new(session),
        opens,
        acked_below: 130,
        first_sequence: 131,
        requests,
    };
    let requests = commands()
        .into_iter()
        .take(2)
        .map(|(_, command)| command.to_bytes())
        .collect();
    let groups = vec![group(7, true, vec![]), group(u128::MAX - 1, false, requests)];
    Batch {
        proposed_at: Timestamp::new(1_800_000_000_000),
        groups,
    }
}

/// Some of everything that a snapshot holds.
fn store() -> Store {
    let session = SessionId::new(7);
    let mut store = Store::empty();
    let group = |first_sequence, opens, commands: &[Command]| Group {
        session,
        opens,
        acked_below: first_sequence,
        first_sequence,
        requests: commands.iter().map(Command::to_bytes).collect(),
    };
    let put = |name, text: &str, ttl: Option<u64>| Command::Put {
        key: key(name),
        value: Value::text(text).into(),
        lifetime: (ttl.map(Millis::new)).into(),
        condition: None,
        return_previous: true,
    };
    let delete = Command::Delete {
        key: key("b"),
        condition: None,
        return_previous: false,
    };
    let groups = [
        group(1, true, &[]),
        group(
            1,
            false,
            &[
                put("ns:a", "1", None),
                put("ns:a", "2", Some(90_000)),
                put("b", "3", None),
                delete,
            ],
        ),
        group(
            5,
            false,
            &[
                put("big", &"x".repeat(600), None),
                put("big", "small", None),
                put("c", "1", Some(1)),
            ],
        ),
        group(
            8,
            false,
            &[Command::Increment {
                key: key("ns:a"),
                delta: 40,
                ttl: None,
            }],
        ),
    ];
    for (index, group) in (1..).zip(groups) {
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        let proposed_at = Timestamp::new(1_800_000_000_000 + index * 60_000);
        store.apply(
            meta,
            &Batch {
                proposed_at,
                groups: vec![group],
            },
        );
    }
    store
}

/// Everything by name, as it is written now.
fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, bytes: Vec<u8>| assert!(all.insert(name, bytes).is_none());
    for (name, command) in commands().into_iter().chain(administration()) {
        add(format!("request {name}"), command.to_bytes().to_vec());
    }
    for (name, reply) in replies() {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        add(format!("reply {name}"), bytes);
    }
    for (name, expression) in expressions() {
        add(format!("expression {name}"), expression.to_bytes());
    }
    let mut bytes = Vec::new();
    batch().encode(&mut bytes);
    add("batch".into(), bytes);
    let mut bytes = Vec::new();
    batch().groups[1].encode(&mut bytes);
    add("group".into(), bytes);
    add(
        "scan position".into(),
        ScanPosition::new(key("k"), rev(300)).encode(),
    );
    all
}

/// Everything by name, as it is committed.
fn committed() -> &'static BTreeMap<String, Vec<u8>> {
    static COMMITTED: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let title = "# Requests, replies and batches of version 1.";
    COMMITTED.get_or_init(|| golden::committed(FILE, title, written))
}

#[test]
fn golden_bytes_of_version_1_are_written_as_ever() {
    let (written, committed) = (written(), committed());
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        committed.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in written {
        assert_eq!(bytes, committed[&name], "{name}");
    }
}

#[test]
fn golden_bytes_of_version_1_are_read() {
    let committed = committed();
    let bytes = |name: &str| Bytes::from(committed[name].clone());
    for (name, command) in commands().into_iter().chain(administration()) {
        assert_eq!(
            Command::decode(&bytes(&format!("request {name}"))),
            Ok(command),
            "{name}"
        );
    }
    for (name, reply) in replies() {
        assert_eq!(
            Reply::decode(&bytes(&format!("reply {name}"))),
            Ok(reply),
            "{name}"
        );
    }
    for (name, expression) in expressions() {
        let bytes = bytes(&format!("expression {name}"));
        assert_eq!(Expression::decode(&bytes).as_ref(), Ok(&expression), "{name}");
    }
    assert_eq!(Batch::decode(&bytes("batch")), Ok(batch()));
    assert_eq!(Group::decode(&bytes("group")), Ok(batch().groups[1].clone()));
    assert_eq!(
        ScanPosition::decode(&bytes("scan position")),
        Ok(ScanPosition::new(key("k"), rev(300)))
    );
}

/// Written by the first version, which knew no leases. Never written again.
#[test]
fn a_snapshot_of_version_1_is_restored() {
    let committed = golden::read("snapshot-v1.hex");
    let mut restorer = Store::restorer();
    restorer
        .feed(&Bytes::from(committed["snapshot chunk 0"].clone()))
        .unwrap();
    let restored = restorer.finish().unwrap();
    assert_eq!(invariants::check(&restored), Ok(()));
    let all = ScanRequest::new(KeyRange::all());
    assert_eq!(restored.view().scan(&all), store().view().scan(&all));
    assert_eq!(restored.view().statistics(), store().view().statistics());
}
