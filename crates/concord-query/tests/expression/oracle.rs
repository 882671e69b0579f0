//! Against another implementation of CEL, on what both have.
//!
//! Left out, because they differ by design: integers beyond 64 signed bits (one kind here, two there), the
//! sum of two lists (not here), `has` where a step before the last is missing (false here, an
//! error there), division of floats by zero (an error here), floats beside integers beyond 2^53 (exact here).

use std::collections::HashMap;
use std::sync::LazyLock;

use cel::Env;
use concord_core::expr::{Evaluated, Literal, Scope};
use concord_core::{Document, Record, Timestamp, Value};
use concord_query::expression::parse;
use proptest::prelude::*;

use crate::meaning;

fn document() -> Document {
    let Document::Object(mut fields) = meaning::document() else {
        unreachable!("an object")
    };
    // CEL would make it an unsigned integer, a kind of its own.
    fields.remove("big");
    Document::Object(fields)
}

fn cel_value(document: &Document) -> cel::Value {
    match document {
        Document::Null => cel::Value::Null,
        Document::Bool(value) => (*value).into(),
        Document::Integer(value) => value.as_i64().unwrap().into(),
        Document::Float(value) => value.get().into(),
        Document::String(text) => text.clone().into(),
        Document::Array(items) => items.iter().map(cel_value).collect::<Vec<_>>().into(),
        Document::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), cel_value(value)))
            .collect::<HashMap<_, _>>()
            .into(),
    }
}

/// A text for what CEL answers, as ours is written.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not listed has no counterpart here"
)]
fn cel_result(value: &cel::Value) -> String {
    match value {
        cel::Value::Null => "null".into(),
        cel::Value::Bool(value) => value.to_string(),
        cel::Value::Int(value) => value.to_string(),
        cel::Value::Float(value) => format!("{:?}", value + 0.0),
        cel::Value::String(text) => format!("{text:?}"),
        cel::Value::List(items) => {
            let items: Vec<_> = items.iter().map(cel_result).collect();
            format!("[{}]", items.join(", "))
        }
        cel::Value::Map(_) => "a map".into(),
        other => format!("{other:?}"),
    }
}

fn our_result(value: &Evaluated) -> String {
    match value {
        Evaluated::Map(_) => "a map".into(),
        Evaluated::Scalar(Literal::String(text)) => format!("{text:?}"),
        Evaluated::List(items) => {
            let items: Vec<_> = items.iter().map(our_result).collect();
            format!("[{}]", items.join(", "))
        }
        Evaluated::Scalar(value) => Evaluated::Scalar(value.clone()).to_string(),
    }
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null"),
        Just("true"),
        Just("false"),
        Just("0"),
        Just("1"),
        Just("-7"),
        Just("30"),
        Just("9007199254740993"),
        Just("1e3"),
        Just("0.5"),
        Just("30.0"),
        Just("-1.0"),
        Just("''"),
        Just("'x'"),
        Just("'Zo'"),
        Just("value.name"),
        Just("value.age"),
        Just("value.price"),
        Just("value.ratio"),
        Just("value.nothing"),
        Just("value.absent"),
        Just("value.o.a.b"),
        Just("value.o.z"),
        Just("value.list[0]"),
        Just("value.list[7]"),
        Just("has(value.name)"),
        Just("has(value.absent)"),
        Just("has(value.o.y)"),
        Just("size(value.list)"),
        Just("size(value.o)"),
        Just("size(value.name)"),
        Just("size(null)"),
    ]
    .prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    let infix = prop_oneof![
        Just("&&"),
        Just("||"),
        Just("=="),
        Just("!="),
        Just("<"),
        Just("<="),
        Just(">"),
        Just(">="),
        Just("+"),
        Just("-"),
        Just("*"),
        Just("/"),
        Just("%"),
    ];
    scalar().prop_recursive(3, 16, 3, move |inner| {
        let method = prop_oneof![Just("startsWith"), Just("endsWith"), Just("contains")];
        prop_oneof![
            4 => (inner.clone(), infix.clone(), inner.clone()).prop_map(|(a, sign, b)| format!("({a}) {sign} ({b})")),
            1 => (inner.clone(), infix.clone(), scalar(), infix.clone(), scalar())
                .prop_map(|(a, s, b, t, c)| format!("({a}) {s} {b} {t} {c}")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
            1 => (scalar(), method, scalar()).prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) in [{b}, {c}]")),
            1 => inner.prop_map(|a| format!("({a}) in value.list")),
        ]
    })
}

/// What both say of a text, if it is one on which they should agree.
fn both(text: &str) -> Option<(Option<String>, Option<String>)> {
    let document = document();
    let record: Record = meaning::record(Value::document(&document).unwrap());
    let ours = parse(text)
        .unwrap()
        .evaluate(&Scope::of_record(&record, Timestamp::new(0)));

    static ENV: LazyLock<Env> = LazyLock::new(Env::stdlib);
    let program = ENV.compile(text).unwrap();
    let mut context = cel::Context::default();
    context.add_variable_from_value("value", cel_value(&document));
    let theirs = program.execute(&context);
    if matches!(theirs, Ok(cel::Value::Float(value)) if !value.is_finite()) {
        return None;
    }
    Some((
        ours.ok().as_ref().map(our_result),
        theirs.ok().as_ref().map(cel_result),
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn cel_says_the_same(text in text()) {
        if let Some((ours, theirs)) = both(&text) {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }
}
