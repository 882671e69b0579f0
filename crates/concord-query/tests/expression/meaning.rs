//! The rules of `concord_core::expr`, one by one.

use concord_core::document::Finite;
use concord_core::expr::{EvaluationError, Scope};
use concord_core::{Document, Key, LeaseId, Record, Revision, Timestamp, Value};
use concord_query::expression::parse;

fn object<const N: usize>(fields: [(&str, Document); N]) -> Document {
    Document::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

fn float(value: f64) -> Document {
    Document::Float(Finite::new(value).unwrap())
}

pub(crate) fn document() -> Document {
    object([
        ("age", Document::integer(30_i64)),
        ("big", Document::integer(u64::MAX)),
        (
            "list",
            Document::Array(vec![
                Document::integer(1_i64),
                Document::Null,
                "x".to_owned().into_document(),
            ]),
        ),
        ("name", Document::String("Zoë".into())),
        ("nothing", Document::Null),
        (
            "o",
            object([
                ("a", object([("b", Document::Bool(true))])),
                ("z", Document::integer(-1_i64)),
            ]),
        ),
        ("price", float(30.0)),
        ("ratio", float(0.5)),
    ])
}

trait IntoDocument {
    fn into_document(self) -> Document;
}

impl IntoDocument for String {
    fn into_document(self) -> Document {
        Document::String(self)
    }
}

pub(crate) fn record(value: Value) -> Record {
    Record {
        key: Key::try_from("user:1").unwrap(),
        value,
        create_revision: Revision::new(5),
        mod_revision: Revision::new(9),
        version: 3,
        expires_at: Some(Timestamp::new(10_500)),
        lease: None,
    }
}

fn result_on(record: &Record, text: &str) -> Result<String, EvaluationError> {
    let expression = parse(text).unwrap_or_else(|error| panic!("{}", error.explain(text)));
    let result = expression.evaluate(&Scope::of_record(record, Timestamp::new(9_000)));
    result.map(|result| result.to_string())
}

fn result(text: &str) -> Result<String, EvaluationError> {
    result_on(&record(Value::document(&document()).unwrap()), text)
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(result(text).as_deref(), Ok(*expected), "{text}");
    }
}

fn fails(error: EvaluationError, texts: &[&str]) {
    for text in texts {
        assert_eq!(result(text), Err(error), "{text}");
    }
}

#[test]
fn every_part_of_the_record_is_seen() {
    check(&[
        ("key", "\"user:1\""),
        ("[version, create_revision, mod_revision]", "[3, 5, 9]"),
        ("[ttl, ttl_ms, lease]", "[2, 1500, null]"),
        ("value.o", "{\"a\": {\"b\": true}, \"z\": -1}"),
        ("value.list", "[1, null, \"x\"]"),
        (
            "value.o.a.b && value[\"o\"][\"z\"] == -1 && value.list[2] == 'x'",
            "true",
        ),
    ]);
    let mut other = record(Value::text("37"));
    (other.expires_at, other.lease) = (None, Some(LeaseId::new(7)));
    assert_eq!(
        result_on(&other, "[value, ttl, ttl_ms, lease]").unwrap(),
        "[\"37\", null, null, 7]"
    );
    other.value = Value::binary(&b"\x00v"[..]);
    other.key = Key::copy_of(b"\xff").unwrap();
    assert_eq!(
        result_on(&other, "[value, key]").unwrap(),
        "[b\"\\x00v\", b\"\\xff\"]"
    );
}

#[test]
fn numbers_are_exact() {
    check(&[
        (
            "value.big == 18446744073709551615 && value.big > 18446744073709551614",
            "true",
        ),
        ("value.big - 1", "18446744073709551614"),
        ("9223372036854775807 + 1", "9223372036854775808"),
        (
            "value.price == 30 && 30 == value.price && value.age == value.price",
            "true",
        ),
        ("9007199254740993 == 9007199254740992.0", "false"),
        ("9007199254740993 > 9007199254740992.0", "true"),
        ("18446744073709551615 < 18446744073709551616.0", "true"),
        (
            "-9223372036854775808 >= -9223372036854775808.0 && -1e300 < -9223372036854775808",
            "true",
        ),
        ("0.5 > 0 && 1 > 0.5 && -0.5 < 0 && -1 < -0.5", "true"),
        ("-7 / 2 == -3 && -7 % 2 == -1 && 7 % -2 == 1", "true"),
        ("value.ratio + 0.25", "0.75"),
        ("-0.0", "0.0"),
    ]);
    fails(
        EvaluationError::Overflow,
        &[
            "value.big + 1",
            "-9223372036854775808 - 1",
            "-(value.big)",
            "value.big * value.big * value.big",
            "1e308 * 10.0",
        ],
    );
    fails(EvaluationError::DivisionByZero, &["1 / 0", "1 % 0", "1.0 / 0.0"]);
}

/// D-DATA-13: nothing is equal by conversion.
#[test]
fn nothing_is_converted() {
    check(&[
        ("'30' == value.age", "false"),
        (
            "null == false || 0 == false || '' == null || b'a' == 'a'",
            "false",
        ),
        ("'1' != 1", "true"),
        (
            "value.list == [1, null, 'x'] && [1.0, null, 'x'] == value.list",
            "true",
        ),
        ("value.list == [1, null]", "false"),
        ("value.o == value.o && value.o != value.o.a", "true"),
        (
            "1 in value.list && null in value.list && !('1' in value.list)",
            "true",
        ),
        ("'z' in value.o && !('y' in value.o) && !(1 in value.o)", "true"),
    ]);
    fails(
        EvaluationError::Kind,
        &[
            "'30' < value.age",
            "1 + 1.0",
            "'a' + 1",
            "null < 1",
            "value.list < value.list",
            "!1",
            "-'a'",
            "1 && true",
            "1 ? 2 : 3",
            "size(1)",
            "1 in 1",
            "value[null]",
            "key.startsWith(1)",
            "[1] + [2]",
            "1.5 % 0.5",
        ],
    );
}

#[test]
fn missing_is_not_null() {
    check(&[
        ("value.nothing == null", "true"),
        (
            "has(value.nothing) && has(value.o.a.b) && has(value.list[2])",
            "true",
        ),
        (
            "has(value.absent) || has(value.o.x.y.z) || has(value.age.x) || has(value.list[3])",
            "false",
        ),
    ]);
    fails(
        EvaluationError::Missing,
        &[
            "value.absent == null",
            "value.absent != 1",
            "!(value.absent == 1)",
            "value.o.x.y",
            "value.age.x",
            "value.list[3]",
            "value.list[-1]",
            "value.list.a",
            "value.o[0]",
            "key.a",
        ],
    );
    fails(EvaluationError::DivisionByZero, &["has(value.list[1 / 0])"]);
}

#[test]
fn and_or_need_not_know_all_their_operands() {
    let error = "value.absent == 1";
    for text in [
        "false && E",
        "E && false",
        "E && true && false && E",
        "!(true || E)",
        "!(E || 1 || true)",
    ] {
        assert_eq!(
            result(&text.replace('E', error)).as_deref(),
            Ok("false"),
            "{text}"
        );
    }
    for text in ["true && E", "E && true", "false || E", "E || false", "E && E"] {
        assert_eq!(
            result(&text.replace('E', error)),
            Err(EvaluationError::Missing),
            "{text}"
        );
    }
    check(&[("true ? 1 : 1 / 0", "1"), ("false ? 1 / 0 : 2", "2")]);
}

/// D-RAFT-2: a predicate that fails is one that does not hold, on every replica.
#[test]
fn only_true_holds() {
    let record = record(Value::document(&document()).unwrap());
    let holds = |text| {
        parse(text)
            .unwrap()
            .holds(&Scope::of_record(&record, Timestamp::new(0)))
    };
    assert!(holds("value.age == 30"));
    for text in [
        "value.age == 31",
        "value.absent",
        "!value.absent",
        "1",
        "'true'",
        "null",
        "1 / 0 == 1",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn strings_and_bytes_have_their_operations() {
    check(&[
        (
            "size(value.name) == 3 && size('') == 0 && size(b'abc') == 3",
            "true",
        ),
        ("size(value.list) == 3 && value.o.size() == 2", "true"),
        (
            "key.startsWith('user:') && key.endsWith(':1') && key.contains('er:')",
            "true",
        ),
        (
            "key.startsWith('ser') || key.endsWith('x') || key.contains('ER')",
            "false",
        ),
        ("b'abc'.startsWith(b'ab') && b'abc'.endsWith(b'c')", "true"),
        (
            "'a' < 'b' && 'Z' < 'a' && 'a' < 'aa' && b'a' < b'b' && false < true",
            "true",
        ),
        ("'user:' + '1' == key && b'a' + b'b' == b'ab'", "true"),
        (
            "\"\\x41\\u00e9\\101\\\"\" == 'AéA\"' && r'\\n' == '\\\\n'",
            "true",
        ),
    ]);
    fails(EvaluationError::Kind, &["b'abc'.contains(b'b')", "'a' < b'b'"]);
}

/// D-RAFT-2: an expression that is poison costs its budget and no more.
#[test]
fn work_is_bounded() {
    let items: Vec<_> = (0..200_000_i64).map(Document::integer).collect();
    let record =
        record(Value::document(&object([("list", Document::Array(items)), ("z", Document::Null)])).unwrap());
    let on = |text: &str| result_on(&record, text);
    assert_eq!(on("199999 in value.list").as_deref(), Ok("true"));
    assert_eq!(on("value.list[199999]").as_deref(), Ok("199999"));
    let costly = vec!["-1 in value.list"; 20].join(" || ");
    assert_eq!(on(&costly), Err(EvaluationError::TooCostly));
    assert_eq!(
        on(&format!("{costly} || true")),
        Err(EvaluationError::TooCostly),
        "not absorbed"
    );
    let nested = vec!["value.list in [value.list]"; 20].join(" && ");
    assert_eq!(on(&nested), Err(EvaluationError::TooCostly));

    let long = self::record(Value::text("x".repeat(40_000)));
    assert_eq!(result_on(&long, "size(value + 'y')").as_deref(), Ok("40001"));
    assert_eq!(
        result_on(&long, "[value + value]"),
        Err(EvaluationError::TooCostly)
    );
    assert_eq!(
        result_on(&long, "[value + 'a', value + 'b']"),
        Err(EvaluationError::TooCostly)
    );
}
