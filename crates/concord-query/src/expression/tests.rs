//! Syntax: what is read, what is refused and how that is told, and that text and tree are one.

use proptest::prelude::*;

use super::*;
use concord_core::expr::Expr;
use concord_core::limits::EXPRESSION_DEPTH_MAX;

/// Text of any shape that the grammar has, with more parentheses than needed.
fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null"),
        Just("true"),
        Just("0"),
        Just("-7"),
        Just("18446744073709551615"),
        Just("-9223372036854775808"),
        Just("0x1F"),
        Just("1.5"),
        Just("-2e-7"),
        Just("1e300"),
        Just(r#""a\"b\\\n\u00e9\x01""#),
        Just("'it\"s'"),
        Just(r#"r"\raw""#),
        Just(r#"b"\x00\xff\377é""#),
        Just("key"),
        Just("value"),
        Just("value.name"),
        Just(r#"value["first-name"]"#),
        Just("ttl_ms"),
        Just("[]"),
    ]
    .prop_map(str::to_owned);
    let infix = prop_oneof![
        Just("&&"),
        Just("||"),
        Just("=="),
        Just("!="),
        Just("<"),
        Just("<="),
        Just(">"),
        Just(">="),
        Just("in"),
        Just("+"),
        Just("-"),
        Just("*"),
        Just("/"),
        Just("%"),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let unary = prop_oneof![Just("!"), Just("- "), Just("")];
        let method = prop_oneof![Just("startsWith"), Just("endsWith"), Just("contains")];
        prop_oneof![
            (inner.clone(), infix.clone(), inner.clone()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
            (unary, inner.clone()).prop_map(|(sign, a)| format!("{sign}({a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : {c}")),
            (inner.clone(), method, inner.clone()).prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}][({a})]")),
            inner.clone().prop_map(|a| format!("size({a})")),
            inner.clone().prop_map(|a| format!("has(({a}).name)")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("has(({a})[{b}])")),
        ]
    })
}

proptest! {
    #[test]
    fn an_expression_reads_back_from_its_own_text(text in text()) {
        let expression = parse(&text).unwrap();
        let written = expression.to_string();
        prop_assert_eq!(parse(&written), Ok(expression.clone()), "{} became {}", text, written);
        prop_assert_eq!(Expression::decode(&expression.to_bytes()), Ok(expression));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.offset() <= text.len());
            prop_assert!(error.explain(&text).to_string().contains('^'));
        }
    }

    #[test]
    fn any_sequence_of_tokens_is_read_or_refused(
        tokens in proptest::collection::vec(prop_oneof![
            Just("("), Just(")"), Just("["), Just("]"), Just("."), Just(","), Just("?"), Just(":"), Just("!"),
            Just("-"), Just("=="), Just("&&"), Just("in"), Just("has"), Just("size"), Just("value"), Just("1"),
            Just("\"a\""), Just("b'"), Just("\\"), Just("é"), Just("//"), Just("\n"),
        ], 0..40),
    ) {
        let text = tokens.join(" ");
        if let Err(error) = parse(&text) {
            prop_assert!(text.is_char_boundary(error.offset()), "{} in {:?}", error.offset(), text);
        }
    }
}

#[test]
fn precedence_is_that_of_cel() {
    for (text, explicit) in [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("1 - 2 - 3", "(1 - 2) - 3"),
        ("!true && false", "(!true) && false"),
        ("true || false && null", "true || (false && null)"),
        ("1 + 1 == 2 && 3 < 4", "((1 + 1) == 2) && (3 < 4)"),
        ("true ? 1 : false ? 2 : 3", "true ? 1 : (false ? 2 : 3)"),
        ("-value.a", "-(value.a)"),
        ("key in [key] == true", "(key in [key]) == true"),
        ("value.size() + 1", "size(value) + 1"),
    ] {
        assert_eq!(parse(text), parse(explicit), "{text}");
    }
    assert_ne!(
        parse("-5").unwrap(),
        parse("-(5)").unwrap(),
        "a number and an operation"
    );
    assert_ne!(parse("true && (true && true)"), parse("true && true && true"));
}

#[test]
fn faults_name_their_place() {
    for (text, offset, message) in [
        ("", 0, "expected a value, found the end at byte 0"),
        ("value.age >", 11, "expected a value, found the end at byte 11"),
        ("value.age = 3", 10, "`=` is no operator, use `==` at byte 10"),
        (
            "vaule.age",
            0,
            "unknown name `vaule`, there is key, value, version, create_revision, mod_revision, ttl, ttl_ms, lease at byte 0",
        ),
        (
            "value.age 3",
            10,
            "expected an operator or the end, found `3` at byte 10",
        ),
        ("(1", 2, "expected `)`, found the end at byte 2"),
        ("\"open", 0, "string without an end at byte 0"),
        ("'\\q'", 1, "unknown escape at byte 1"),
        ("'\\ud800'", 1, "no such character at byte 1"),
        ("18446744073709551616", 0, "number out of range at byte 0"),
        ("1 + -9223372036854775809", 4, "number out of range at byte 4"),
        ("1e999", 0, "number out of range at byte 0"),
        ("12ab", 0, "malformed number at byte 0"),
        (
            "value.name()",
            6,
            "unknown function `name`, there is size, has, startsWith, endsWith, contains at byte 6",
        ),
        (
            "key.matches('a+')",
            4,
            "`matches` is not for expressions, which must mean the same for ever; filter by `pattern` instead at byte 4",
        ),
        (
            "has(value)",
            4,
            "`has` asks for a field or an item, as in `has(value.name)` at byte 4",
        ),
        (
            "value.3",
            5,
            "expected an operator or the end, found `0.3` at byte 5",
        ),
        ("§", 0, "unexpected character at byte 0"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(
            (error.offset(), error.to_string().as_str()),
            (offset, message),
            "{text}"
        );
    }
}

#[test]
fn a_fault_is_shown_below_its_line() {
    let text = "value.age > 1 && // größe\n  value.age ! 3";
    let error = parse(text).unwrap_err();
    assert_eq!(
        error.explain(text).to_string(),
        "  value.age ! 3\n            ^\nexpected an operator or the end, found `!`"
    );
    let text = "value.größe";
    let error = parse(text).unwrap_err();
    assert_eq!(
        error.explain(text).to_string(),
        "value.größe\n        ^\nunexpected character"
    );
}

/// D-RAFT-2: what goes into the log is bounded before it gets there.
#[test]
fn deep_and_long_texts_are_refused() {
    let shapes = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("!", "true", ""),
        ("- ", "key", ""),
        ("size(", "key", ")"),
        ("value[", "0", "]"),
        ("true ? 1 : ", "2", ""),
        ("true ? (", "2", ") : 1"),
        ("key.contains(", "key", ")"),
        ("", "value", ".a"),
        ("", "value", "[0]"),
        ("", "1", " + 1"),
        ("", "1", " == 1"),
    ];
    for (before, middle, after) in shapes {
        for depth in [100, 300] {
            let text = format!("{}{middle}{}", before.repeat(depth), after.repeat(depth));
            assert!(parse(&text).is_err(), "{text}");
        }
        let text = format!("{}{middle}{}", before.repeat(20), after.repeat(20));
        assert!(parse(&text).is_ok(), "{text}");
    }
    let long = format!("key == '{}'", "x".repeat(EXPRESSION_TEXT_BYTES_MAX));
    assert!(matches!(parse(&long).unwrap_err().fault, Fault::TooLong));
    let wide = vec!["true"; 500].join(" && ");
    assert!(parse(&wide).is_ok(), "a long conjunction is not deep");
}

#[test]
fn any_tree_within_the_limits_can_be_written_and_read() {
    let mut deepest = Expr::integer(1_u64);
    for level in 1..EXPRESSION_DEPTH_MAX {
        deepest = if level % 2 == 0 {
            Expr::integer(1_u64).with(concord_core::expr::Binary::Subtract, deepest)
        } else {
            Expr::Unary(concord_core::expr::Unary::Not, Box::new(deepest))
        };
    }
    let expression = Expression::new(deepest.clone()).unwrap();
    assert_eq!(parse(&expression.to_string()), Ok(expression));
    let deeper = Expr::Unary(concord_core::expr::Unary::Not, Box::new(deepest));
    assert_eq!(Expression::new(deeper), Err(InvalidExpression::TooDeep));
}
