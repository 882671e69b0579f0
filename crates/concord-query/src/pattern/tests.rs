//! Patterns: what they mean, what is none, and an engine of another make beside them.

use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, text: &str) -> bool {
    parse(pattern).unwrap().matches(text.as_bytes(), &mut 0)
}

#[test]
fn patterns_mean_what_they_mean_elsewhere() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("b", "abc", true),
        ("^b", "abc", false),
        ("^user:[0-9]+$", "user:42", true),
        ("^user:[0-9]+$", "user:42x", false),
        ("a.c", "a\u{e9}c", true),
        ("a.c", "a\nc", false),
        ("^(ab|cd)*$", "abcdab", true),
        ("^(ab|cd)*$", "abc", false),
        (r"^\d{2,3}$", "1", false),
        (r"^\d{2,3}$", "123", true),
        (r"^\d{2,3}$", "1234", false),
        (r"^a{2,}$", "aaaa", true),
        (r"\bfoo\b", "a foo b", true),
        (r"\bfoo\b", "afoo", false),
        (r"\Bfoo", "afoo", true),
        ("(?i)ÀbC", "ÀBc", true),
        ("(?i)à", "À", false),
        ("a(?i:b)c", "aBc", true),
        ("a(?i:b)c", "aBC", false),
        ("[^:]+$", "a:b", true),
        ("^[^:]+$", "a:b", false),
        ("[]a]", "]", true),
        ("[a-]", "-", true),
        (r"[\d_]+x", "7_x", true),
        (r"\x41\.", "A.", true),
        ("a+?b*?c??", "a", true),
        ("a||b", "", true),
        ("^$", "", true),
        ("()*", "x", true),
        ("é+$", "éé", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
    let any = parse("^a.$").unwrap();
    assert!(
        any.matches(b"a\xff", &mut 0),
        "a byte that is no text is a character"
    );
}

/// D-SEC-6: what is special by accident is only so where it is meant, and can be escaped.
#[test]
fn every_special_character_can_be_escaped() {
    for special in r"\.+*?()|[]{}^$-&~#:/".chars() {
        let pattern = format!(r"^\{special}$");
        assert!(matches(&pattern, &special.to_string()), "{pattern}");
        assert!(!matches(&pattern, "x"), "{pattern}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_its_place() {
    for (pattern, offset) in [
        ("(", 1),
        ("a)", 1),
        ("*", 0),
        ("a|*", 2),
        ("[a", 2),
        ("[b-a]", 4),
        ("[[:alpha:]]", 1),
        ("[a&&b]", 2),
        (r"a\", 2),
        (r"\1", 1),
        (r"\pL", 1),
        (r"\xff", 2),
        ("(?=a)", 1),
        ("(?<a>b)", 1),
        ("a{", 2),
        ("a{1001}", 2),
        ("a{3,2}", 6),
        ("a{1", 3),
    ] {
        let error = parse(pattern).unwrap_err();
        assert_eq!(error.offset(), offset, "{pattern}: {error}");
    }
}

/// Patterns that are small as text and large as programs, or nested without end.
#[test]
fn poison_is_refused() {
    for pattern in [
        "((((a{100}){100}){100}){100})".to_owned(),
        "((((){1000}){1000}){1000}){1000}".to_owned(),
        "(".repeat(4_000),
        format!("{}{}", "(".repeat(65), ")".repeat(65)),
        "a".repeat(PATTERN_TEXT_BYTES_MAX + 1),
        "(".repeat(10 << 20),
    ] {
        let started = std::time::Instant::now();
        assert!(parse(&pattern).is_err(), "{pattern:.40}");
        assert!(started.elapsed().as_secs() < 1, "{pattern:.40}");
    }
    assert!(parse(&format!("{}{}", "(".repeat(64), ")".repeat(64))).is_ok());
    // What takes other engines exponential time takes the product of both lengths.
    let slow = parse("^(a|a|aa)*(a+)+(.*)*$x").unwrap();
    let mut work = 0;
    assert!(!slow.matches(&[b'a'; 1024], &mut work));
    assert!(work < 1 << 20, "{work}");
}

#[test]
fn anchored_patterns_have_a_literal_prefix() {
    for (pattern, prefix) in [
        ("^user:", "user:"),
        (r"^user\.a+", "user."),
        ("^usé[ab]", "usé"),
        ("user:", ""),
        ("^a|b", ""),
        ("^(?i)user", ""),
        ("^a*", ""),
        ("^ab?", "a"),
        ("^", ""),
    ] {
        assert_eq!(literal_prefix(pattern), prefix.as_bytes(), "{pattern}");
    }
}

fn arb_pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        4 => proptest::sample::select(&["a", "b", "c", "-", "_", " "][..]).prop_map(str::to_owned),
        1 => proptest::sample::select(&[".", "[ab]", "[^a]", "[a-c_]", r"\d", r"\w", r"\W", r"\s", r"[\w-]"][..])
            .prop_map(str::to_owned),
        1 => proptest::sample::select(&["^", "$", r"\b", r"\B", "()"][..]).prop_map(str::to_owned),
    ];
    atom.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}{b}")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
            1 => inner.clone().prop_map(|a| format!("({a})*")),
            1 => inner.clone().prop_map(|a| format!("(?:{a})+?")),
            1 => inner.clone().prop_map(|a| format!("({a}){{1,2}}")),
            1 => inner.clone().prop_map(|a| format!("(?:{a}){{2}}")),
            1 => inner.clone().prop_map(|a| format!("(?i:{a})")),
            1 => inner.prop_map(|a| format!("(?:{a})?")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against an engine of another make, where both mean ASCII.
    #[test]
    fn the_regex_crate_says_the_same(pattern in arb_pattern(), text in "[abcABC_ 0-]{0,8}") {
        let other = regex::bytes::RegexBuilder::new(&pattern).unicode(false).build().unwrap();
        prop_assert_eq!(matches(&pattern, &text), other.is_match(text.as_bytes()), "{} {}", pattern, text);
        prop_assert!(!matches(&pattern, &text) || text.as_bytes().starts_with(&literal_prefix(&pattern)));
    }

    /// Any text either is a pattern or is refused; nothing panics or runs away.
    #[test]
    fn any_text_is_judged(pattern in ".{0,40}", text in ".{0,20}") {
        if let Ok(pattern) = parse(&pattern) {
            let _ = pattern.matches(text.as_bytes(), &mut 0);
        }
    }
}
