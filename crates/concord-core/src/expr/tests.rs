//! Byte form, limits and totality; what expressions mean is tested with their text, in `concord-query`.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::document::Document;
use crate::key::Key;
use crate::value::Value;

/// One of each form.
fn every_form() -> Vec<Expr> {
    let mut all = vec![
        Expr::Literal(Literal::Null),
        Expr::Literal(Literal::Bool(false)),
        Expr::Literal(Literal::Bool(true)),
        Expr::integer(u64::MAX),
        Expr::integer(i64::MIN),
        Expr::integer(-1_i64),
        Expr::integer(0_u64),
        Expr::Literal(Literal::Float(Finite::new(-1.5).unwrap())),
        Expr::string("é"),
        Expr::Literal(Literal::Bytes(vec![0, 255])),
        Expr::List(vec![]),
    ];
    all.extend(Variable::ALL.map(Expr::Variable));
    let value = || Box::new(Expr::Variable(Variable::Value));
    for operation in [Unary::Not, Unary::Negate, Unary::Size] {
        all.push(Expr::Unary(operation, value()));
    }
    for operation in [
        Binary::Equal,
        Binary::NotEqual,
        Binary::Less,
        Binary::LessOrEqual,
        Binary::Greater,
        Binary::GreaterOrEqual,
        Binary::In,
        Binary::Add,
        Binary::Subtract,
        Binary::Multiply,
        Binary::Divide,
        Binary::Remainder,
        Binary::StartsWith,
        Binary::EndsWith,
        Binary::Contains,
    ] {
        all.push(Expr::Binary(operation, value(), Box::new(Expr::integer(1_u64))));
    }
    all.push(Expr::Index(value(), Box::new(Expr::integer(1_u64))));
    all.push(Expr::Has(value(), Box::new(Expr::string("a"))));
    all.push(Expr::Conditional(Box::new([*value(), *value(), *value()])));
    all.push(Expr::All(all.clone()));
    all.push(Expr::Any(all.clone()));
    all.push(Expr::List(all.clone()));
    all
}

fn tree() -> impl Strategy<Value = Expr> {
    let leaves: Vec<_> = every_form()
        .into_iter()
        .filter(|form| matches!(form, Expr::Literal(_) | Expr::Variable(_)))
        .collect();
    let forms = every_form();
    proptest::sample::select(leaves).prop_recursive(5, 40, 4, move |inner| {
        let form = proptest::sample::select(forms.clone());
        (form, proptest::collection::vec(inner, 3..5)).prop_map(|(form, mut parts)| {
            let mut next = || parts.pop().unwrap_or_else(|| Expr::integer(1_u64));
            match form {
                Expr::Literal(_) | Expr::Variable(_) => next().field("name"),
                Expr::List(_) => Expr::List(parts),
                Expr::All(_) => Expr::All(parts),
                Expr::Any(_) => Expr::Any(parts),
                Expr::Index(..) => Expr::Index(Box::new(next()), Box::new(next())),
                Expr::Has(..) => Expr::Has(Box::new(next()), Box::new(next())),
                Expr::Unary(operation, _) => Expr::Unary(operation, Box::new(next())),
                Expr::Binary(operation, ..) => Expr::Binary(operation, Box::new(next()), Box::new(next())),
                Expr::Conditional(_) => Expr::Conditional(Box::new([next(), next(), next()])),
            }
        })
    })
}

fn record(value: Value) -> Record {
    Record {
        key: Key::copy_of(b"k").unwrap(),
        value,
        create_revision: Revision::new(2),
        mod_revision: Revision::new(3),
        version: 2,
        expires_at: None,
        lease: None,
    }
}

fn object() -> Value {
    let list = Document::Array(vec![Document::integer(1_i64), Document::Null]);
    let fields = [
        ("name".into(), Document::String("x".into())),
        ("tags".into(), list),
    ];
    Value::document(&Document::Object(fields.into())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions_read_back_and_have_one_form(tree in tree()) {
        let expression = Expression::new(tree).unwrap();
        let bytes = expression.to_bytes();
        prop_assert_eq!(Expression::decode(&bytes), Ok(expression));
        for cut in 0..bytes.len() {
            prop_assert!(Expression::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
    }

    /// D-RAFT-2: nothing that reaches the log can stop a replica.
    #[test]
    fn damaged_expressions_are_refused_or_evaluated(
        tree in tree(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = Expression::new(tree).unwrap().to_bytes();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(expression) = Expression::decode(&bytes) {
            prop_assert_eq!(expression.to_bytes(), bytes, "one form only");
            for value in [object(), Value::text("7"), Value::binary(&b"\xff"[..])] {
                let record = record(value);
                let scope = Scope::of_record(&record, Timestamp::new(0));
                prop_assert_eq!(expression.evaluate(&scope), expression.evaluate(&scope));
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(expression) = Expression::decode(&bytes) {
            prop_assert_eq!(expression.to_bytes(), bytes);
        }
    }

    /// Bytes that are no document are missing, not a panic.
    #[test]
    fn evaluation_is_total_on_any_bytes(
        tree in tree(),
        bytes in proptest::collection::vec(any::<u8>(), 0..48),
    ) {
        let record = record(Value::trusted(ValueFormat::Document, bytes.into()));
        let scope = Scope::of_record(&record, Timestamp::new(0));
        let _ = Expression::new(tree).unwrap().evaluate(&scope);
    }
}

#[test]
fn every_form_has_its_code() {
    let mut seen = alloc::collections::BTreeSet::new();
    for form in every_form() {
        let expression = Expression::new(form).unwrap();
        let bytes = expression.to_bytes();
        assert_eq!(Expression::decode(&bytes).as_ref(), Ok(&expression));
        assert!(seen.insert(bytes), "{expression} has the form of another");
    }
}

#[test]
fn limits_are_checked_on_both_ways_in() {
    let mut tree = Expr::integer(1_u64);
    for _ in 1..EXPRESSION_DEPTH_MAX {
        tree = Expr::Unary(Unary::Not, Box::new(tree));
    }
    assert!(Expression::new(tree.clone()).is_ok());
    let deeper = Expr::Unary(Unary::Not, Box::new(tree.clone()));
    assert_eq!(Expression::new(deeper), Err(InvalidExpression::TooDeep));
    let mut bytes = Expression::new(tree).unwrap().to_bytes();
    bytes.insert(1, 16);
    assert_eq!(
        Expression::decode(&bytes).unwrap_err().what,
        "expression is too deep"
    );

    let long = Expr::string("x".repeat(EXPRESSION_BYTES_MAX));
    assert_eq!(Expression::new(long), Err(InvalidExpression::TooLarge));
    let one = Expr::All(vec![Expr::integer(1_u64)]);
    assert_eq!(Expression::new(one), Err(InvalidExpression::TooFewOperands));
    assert_eq!(
        Expression::decode(&[1, 12, 1, 2]).unwrap_err().what,
        "too few operands"
    );
    assert_eq!(
        Expression::decode(&[2, 0]).unwrap_err().what,
        "unknown expression version"
    );
}

#[test]
fn expressions_say_what_they_read() {
    let expression = Expression::new(Expr::All(vec![
        Expr::Variable(Variable::Key).with(Binary::Equal, Expr::string("a")),
        Expr::Unary(Unary::Not, Box::new(Expr::Variable(Variable::Ttl).field("x"))),
    ]));
    let expression = expression.unwrap();
    let read: Vec<_> = Variable::ALL
        .into_iter()
        .filter(|variable| expression.reads(*variable))
        .collect();
    assert_eq!(read, [Variable::Key, Variable::Ttl]);
    assert_eq!(expression.to_string(), "key == \"a\" && !ttl.x");
}
