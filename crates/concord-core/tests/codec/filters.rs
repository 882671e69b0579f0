//! Committed bytes of deletes by filter.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::expr::{Binary, Expr, Variable};
use concord_core::glob::Glob;
use concord_core::pattern::{Assertion, Instruction, Pattern};
use concord_core::reply::BatchUnit;
use concord_core::*;

use crate::golden;

const FILE: &str = "query-v1.hex";

fn commands() -> Vec<(&'static str, Command)> {
    let program = vec![
        Instruction::Assert(Assertion::Start),
        Instruction::Split(2, 4),
        Instruction::Class(vec![(48, 57), (97, 0x11_00ff)]),
        Instruction::Jump(1),
        Instruction::Assert(Assertion::WordBoundary),
        Instruction::Assert(Assertion::NotWordBoundary),
        Instruction::Assert(Assertion::End),
        Instruction::Match,
    ];
    let tests = vec![
        KeyTest::Suffix(Bytes::from_static(b":x")),
        KeyTest::Contains(Bytes::from_static(b"\xff")),
        KeyTest::Glob(Glob::new("a*?").unwrap()),
        KeyTest::Pattern(Pattern::new(program).unwrap()),
    ];
    let version = Expr::Variable(Variable::Version);
    let predicate = Expression::new(version.with(Binary::Greater, Expr::integer(1_u64))).unwrap();
    let all = Filter::new(KeyRange::all(), vec![], None).unwrap();
    let some = Filter::new(KeyRange::prefix("user:"), tests, Some(predicate)).unwrap();
    vec![
        (
            "all",
            Command::DeleteWhere {
                filter: all,
                limit: None,
            },
        ),
        (
            "some",
            Command::DeleteWhere {
                filter: some,
                limit: Some(300),
            },
        ),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let refusal = |unit| {
        Reply::Rejected(Rejection::BatchTooLarge {
            unit,
            count: 301,
            limit: 300,
        })
    };
    let revision = Revision::new(300);
    vec![
        (
            "deleted",
            Reply::DeletedWhere {
                revision,
                count: 2,
                more: true,
            },
        ),
        ("too many", refusal(BatchUnit::MatchingKeys)),
        ("too much work", refusal(BatchUnit::Steps)),
    ]
}

fn written() -> BTreeMap<String, Vec<u8>> {
    golden::messages(commands(), replies())
}

#[test]
fn golden_bytes_of_deletes_by_filter_are_written_and_read_as_ever() {
    let title = "# Requests and replies of version 1 that came with deletes by filter.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    golden::assert_read(&committed, commands(), replies());
}

/// Counts are judged before room is made for what they promise.
#[test]
fn filters_beyond_their_limits_are_refused() {
    let (_, command) = commands().remove(1);
    let whole = command.to_bytes();
    for length in 0..whole.len() {
        assert!(Command::decode(&whole.slice(..length)).is_err(), "{length}");
    }
    // Version, kind, no limit, no flags, empty start, then tests: one pattern of 2^20 steps that all match.
    let mut long = vec![1, 36, 0, 0, 0, 1, 4, 0x80, 0x80, 0x40];
    long.extend(std::iter::repeat_n(4, 1 << 20));
    assert!(Command::decode(&Bytes::from(long)).is_err());
}
