//! Requests that say of which trace they are.

use bytes::Bytes;
use concord_core::machine::Machine;
use concord_core::reply::InvalidRequestReason;
use concord_core::trace::TraceContext;
use concord_core::*;

use crate::support::{Log, put_command, snapshot};

fn context(span_id: u64) -> TraceContext {
    TraceContext::new(7, span_id).unwrap()
}

fn once(command: Command) -> Command {
    let key = IdempotencyKey::new("once").unwrap();
    Command::Idempotent {
        key,
        command: Box::new(command),
    }
}

/// D-TRC-1: the context crosses consensus in the proposal, and changes nothing there.
#[test]
fn a_traced_request_does_what_the_request_does() {
    let commands = [
        put_command("a", "1"),
        once(put_command("b", "2")),
        Command::Increment {
            key: Key::try_from("a").unwrap(),
            delta: 1,
            ttl: None,
        },
    ];
    let (mut bare, mut traced) = (Log::new(), Log::new());
    for (span_id, command) in (1..).zip(&commands) {
        let request = command.to_bytes();
        let wrapped = context(span_id).wrap(&request);
        assert_eq!(Store::trace_of(&wrapped), Some(context(span_id)));
        assert_eq!(Store::trace_of(&request), None);
        assert_eq!(bare.bytes(vec![request]), traced.bytes(vec![wrapped]));
    }
    assert_eq!(snapshot(&bare.view()), snapshot(&traced.view()), "I4");
}

#[test]
fn a_request_repeated_in_another_trace_is_applied_once() {
    let mut log = Log::new();
    let request = once(put_command("k", "v")).to_bytes();
    let first = log.bytes(vec![context(1).wrap(&request)]);
    assert_eq!(log.bytes(vec![context(2).wrap(&request)]), first);
    assert_eq!(log.bytes(vec![request]), first);
}

#[test]
fn a_broken_context_is_refused_and_changes_nothing() {
    let mut log = Log::new();
    let request = put_command("k", "v").to_bytes();
    let wrapped = context(1).wrap(&request);
    let mut nobody = wrapped.to_vec();
    nobody[2..18].fill(0);
    let before = log.view().revision();
    for broken in [
        context(2).wrap(&wrapped),
        wrapped.slice(..20),
        Bytes::from(nobody),
    ] {
        assert_eq!(
            log.bytes(vec![broken]),
            [Reply::Rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::Malformed
            })]
        );
    }
    assert_eq!(log.view().revision(), before);
}

/// Committed bytes: what is in a log stays readable.
#[test]
fn the_form_of_a_traced_request_is_as_it_was() {
    let wrapped = TraceContext::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, 0x1112_1314_1516_1718)
        .unwrap()
        .wrap(b"\x01\x02");
    let mut expected = vec![1, 72];
    expected.extend(1..=0x18);
    expected.extend([1, 2]);
    assert_eq!(wrapped, expected);
}
