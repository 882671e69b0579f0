//! Hellos: committed bytes, versions, mutations.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::{assert_golden, golden, node, secret};

const GOLDEN: &str = include_str!("../../testdata/hello-v1.hex");

fn hello(lane: Lane, expected: Option<u64>) -> DialerHello {
    DialerHello {
        mode: Mode::Call,
        lane,
        identity: node(1),
        expected: expected.map(NodeId::new),
    }
}

/// Everything that was said in one handshake, or how it ended.
struct Said {
    dialer_hello: Vec<u8>,
    listener_hello: Vec<u8>,
    proof: [u8; PROOF_BYTES],
    verdict: Vec<u8>,
}

const DIALER_NONCE: [u8; NONCE_BYTES] = [0xd1; NONCE_BYTES];
const LISTENER_NONCE: [u8; NONCE_BYTES] = [0xa2; NONCE_BYTES];

/// A handshake of dialer `node(1)` with listener `node(2)`, recorded.
fn record(hello: &DialerHello, judgement: &Result<(), String>) -> Said {
    let secret = secret(1);
    let (dialing, dialer_hello) = Dialing::begin(hello, VERSIONS, &DIALER_NONCE);
    let (answering, listener_hello) = Answering::begin(&dialer_hello, VERSIONS, &LISTENER_NONCE).unwrap();
    let (_, proof) = dialing.handle_hello(&listener_hello, &secret).unwrap();
    let verdict = answering
        .handle_proof(&proof, &secret)
        .unwrap()
        .verdict(&node(2), judgement, &secret);
    Said {
        dialer_hello,
        listener_hello,
        proof,
        verdict,
    }
}

/// A dialer that says `hello` and hears what was `said`, perhaps to somebody else.
fn dialer_hears(hello: &DialerHello, nonce: [u8; NONCE_BYTES], said: &Said) -> Result<Agreed, HelloError> {
    let (dialing, _) = Dialing::begin(hello, VERSIONS, &nonce);
    let (proven, _) = dialing.handle_hello(&said.listener_hello, &secret(1))?;
    proven.handle_verdict(&said.verdict, &secret(1))
}

/// A listener with a fresh nonce that hears what was `said`, perhaps to somebody else.
fn listener_hears(nonce: [u8; NONCE_BYTES], said: &Said) -> Result<Judging, HelloError> {
    let (answering, _) = Answering::begin(&said.dialer_hello, VERSIONS, &nonce)?;
    answering.handle_proof(&said.proof, &secret(1))
}

#[test]
fn handshake_of_version_1_has_these_bytes() {
    let hello = DialerHello {
        mode: Mode::Stream,
        lane: Lane::Snapshot,
        identity: PeerIdentity {
            cluster_id: None,
            ..node(1)
        },
        expected: Some(NodeId::new(2)),
    };
    let admitted = record(&hello, &Ok(()));
    assert_golden(GOLDEN, "dialer hello", &admitted.dialer_hello);
    assert_golden(GOLDEN, "listener hello", &admitted.listener_hello);
    assert_golden(GOLDEN, "dialer proof", &admitted.proof);
    assert_golden(GOLDEN, "verdict, admitted", &admitted.verdict);
    let refused = record(&hello, &Err("another cluster".into()));
    assert_golden(GOLDEN, "verdict, refused", &refused.verdict);
    assert_golden(GOLDEN, "verdict, unproven", &UNPROVEN_VERDICT);

    let kept = Said {
        dialer_hello: golden(GOLDEN, "dialer hello"),
        listener_hello: golden(GOLDEN, "listener hello"),
        proof: golden(GOLDEN, "dialer proof").try_into().unwrap(),
        verdict: golden(GOLDEN, "verdict, admitted"),
    };
    assert_eq!(listener_hears(LISTENER_NONCE, &kept).unwrap().hello, hello);
    assert_eq!(
        dialer_hears(&hello, DIALER_NONCE, &kept),
        Ok(Agreed {
            version: 1,
            peer: node(2)
        })
    );
}

#[test]
fn refusal_reaches_a_proven_dialer_in_words() {
    let hello = hello(Lane::Control, None);
    let said = record(&hello, &Err("another cluster".into()));
    assert_eq!(
        dialer_hears(&hello, DIALER_NONCE, &said),
        Err(HelloError::Refused("another cluster".into()))
    );
}

#[test]
fn long_reason_is_cut_at_a_letter() {
    let hello = hello(Lane::Control, None);
    let said = record(&hello, &Err("ä".repeat(1000)));
    assert_eq!(
        dialer_hears(&hello, DIALER_NONCE, &said),
        Err(HelloError::Refused("ä".repeat(256)))
    );
}

#[test]
fn proof_with_another_secret_is_refused_by_both_sides() {
    let hello = hello(Lane::Control, None);
    let (dialing, bytes) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
    let (answering, answer) = Answering::begin(&bytes, VERSIONS, &LISTENER_NONCE).unwrap();
    let (proven, proof) = dialing.handle_hello(&answer, &secret(9)).unwrap();
    assert_eq!(
        answering.handle_proof(&proof, &secret(1)).unwrap_err(),
        HelloError::ProofWrong
    );
    // A listener that only pretends to know the secret: what it says is not believed.
    let (answering, _) = Answering::begin(&bytes, VERSIONS, &LISTENER_NONCE).unwrap();
    let verdict = answering
        .handle_proof(&proof, &secret(9))
        .unwrap()
        .verdict(&node(2), &Ok(()), &secret(9));
    assert_eq!(
        proven.handle_verdict(&verdict, &secret(1)),
        Err(HelloError::ProofWrong)
    );
}

#[test]
fn refusal_of_a_listener_without_the_secret_is_not_believed() {
    let hello = hello(Lane::Control, None);
    let said = record(&hello, &Ok(()));
    let (dialing, _) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
    let (proven, _) = dialing.handle_hello(&said.listener_hello, &secret(1)).unwrap();
    let mut forged = record(&hello, &Err("go and join evil:1".into())).verdict;
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        proven.handle_verdict(&forged, &secret(1)),
        Err(HelloError::ProofWrong)
    );
}

#[test]
fn version_mismatch_is_told_to_both_sides() {
    let hello = hello(Lane::Control, None);
    let new = Versions { oldest: 2, newest: 3 };
    let (dialing, bytes) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
    let (answering, answer) = Answering::begin(&bytes, new, &LISTENER_NONCE).unwrap();
    assert_eq!(
        answering.check_version(),
        Err(HelloError::Version {
            ours: new,
            theirs: VERSIONS
        })
    );
    let error = dialing.handle_hello(&answer, &secret(1)).unwrap_err();
    assert_eq!(
        error,
        HelloError::Version {
            ours: VERSIONS,
            theirs: new
        }
    );
    assert_eq!(
        error.to_string(),
        "no common protocol version: this node speaks 1 to 1, the peer 2 to 3"
    );
    // No proof helps where no version is common.
    assert!(answering.handle_proof(&[0; PROOF_BYTES], &secret(1)).is_err());
}

#[test]
fn newest_common_version_is_chosen() {
    let range = |oldest, newest| Versions { oldest, newest };
    for (ours, theirs, common) in [
        (range(1, 3), range(2, 5), Some(3)),
        (range(2, 5), range(1, 3), Some(3)),
        (range(1, 1), range(1, 9), Some(1)),
        (range(1, 2), range(3, 4), None),
        (range(3, 4), range(1, 2), None),
    ] {
        assert_eq!(ours.common(theirs), common);
    }
}

#[test]
fn hello_that_grew_is_understood_and_still_proven() {
    let (_, mut bytes) = Dialing::begin(&hello(Lane::Append, None), VERSIONS, &DIALER_NONCE);
    bytes.extend_from_slice(b"from the future");
    let length = u16::try_from(bytes.len() - HELLO_HEAD_BYTES).unwrap();
    bytes[HELLO_HEAD_BYTES - 2..HELLO_HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
    let (answering, answer) = Answering::begin(&bytes, VERSIONS, &LISTENER_NONCE).unwrap();
    let mut transcript = Transcript::default();
    transcript.add(&bytes);
    transcript.add(&answer);
    let proof = secret(1).prove(Side::Dialer, &transcript);
    assert_eq!(
        answering.handle_proof(&proof, &secret(1)).unwrap().hello,
        hello(Lane::Append, None)
    );
}

#[test]
fn wrong_node_is_noticed_by_both_sides() {
    let hello = hello(Lane::Control, Some(3));
    let said = record(&hello, &Ok(()));
    let judging = listener_hears(LISTENER_NONCE, &said).unwrap();
    assert_eq!(
        judging.check_expected(&node(2)),
        Err("node 2 answers there, not node 3".into())
    );
    assert_eq!(judging.check_expected(&node(3)), Ok(()));
    let error = dialer_hears(&hello, DIALER_NONCE, &said).unwrap_err();
    assert_eq!(
        error,
        HelloError::WrongNode {
            expected: NodeId::new(3),
            found: NodeId::new(2)
        }
    );
}

#[test]
fn replayed_handshake_proves_nothing() {
    let hello = hello(Lane::Control, Some(2));
    let said = record(&hello, &Ok(()));
    // The dialer's side, replayed to a listener: its nonce is new.
    assert_eq!(
        listener_hears([0xa3; NONCE_BYTES], &said).unwrap_err(),
        HelloError::ProofWrong
    );
    // The listener's side, replayed to a dialer: its nonce is new.
    assert_eq!(
        dialer_hears(&hello, [0xd2; NONCE_BYTES], &said),
        Err(HelloError::ProofWrong)
    );
    // The recording itself is sound.
    assert!(listener_hears(LISTENER_NONCE, &said).is_ok());
    assert!(dialer_hears(&hello, DIALER_NONCE, &said).is_ok());
}

#[test]
fn reflected_messages_prove_nothing() {
    let hello = hello(Lane::Control, None);
    let said = record(&hello, &Ok(()));
    // A hello sent back is not one of the other side.
    let (dialing, bytes) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
    assert_eq!(
        dialing.handle_hello(&bytes, &secret(1)).unwrap_err(),
        HelloError::NotConcord
    );
    assert_eq!(
        Answering::begin(&said.listener_hello, VERSIONS, &LISTENER_NONCE).unwrap_err(),
        HelloError::NotConcord
    );
    // A proof sent back as the verdict's proof is not the other side's.
    let (dialing, _) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
    let (proven, own_proof) = dialing.handle_hello(&said.listener_hello, &secret(1)).unwrap();
    let mut verdict = said.verdict;
    let at = verdict.len() - PROOF_BYTES;
    verdict[at..].copy_from_slice(&own_proof);
    assert_eq!(
        proven.handle_verdict(&verdict, &secret(1)),
        Err(HelloError::ProofWrong)
    );
}

/// A relay passes an honest dialer's proof on, under a hello of its own: another lane,
/// another mode, another target, another name. Each is in the transcript.
#[test]
fn proof_relayed_under_another_hello_proves_nothing() {
    let honest = hello(Lane::Control, Some(2));
    let said = record(&honest, &Ok(()));
    let others = [
        DialerHello {
            lane: Lane::Append,
            ..honest
        },
        DialerHello {
            mode: Mode::Stream,
            ..honest
        },
        DialerHello {
            expected: Some(NodeId::new(3)),
            ..honest
        },
        DialerHello {
            expected: None,
            ..honest
        },
        DialerHello {
            identity: node(4),
            ..honest
        },
        DialerHello {
            identity: PeerIdentity {
                store_id: 1,
                ..honest.identity
            },
            ..honest
        },
        DialerHello {
            identity: PeerIdentity {
                cluster_id: None,
                ..honest.identity
            },
            ..honest
        },
    ];
    for other in others {
        let (_, bytes) = Dialing::begin(&other, VERSIONS, &DIALER_NONCE);
        let (answering, _) = Answering::begin(&bytes, VERSIONS, &LISTENER_NONCE).unwrap();
        let refused = answering.handle_proof(&said.proof, &secret(1));
        assert_eq!(refused.unwrap_err(), HelloError::ProofWrong, "{other:?}");
        assert_eq!(
            dialer_hears(&other, DIALER_NONCE, &said),
            Err(HelloError::ProofWrong),
            "{other:?}"
        );
    }
}

/// No bit of any message can be changed on the way: somebody notices.
#[test]
fn changed_bit_in_any_message_ends_the_handshake() {
    let hello = hello(Lane::Forward, Some(2));
    let said = record(&hello, &Ok(()));
    for at in 0..said.dialer_hello.len() * 8 {
        let mut changed = said.dialer_hello.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let outcome = Answering::begin(&changed, VERSIONS, &LISTENER_NONCE)
            .and_then(|(answering, _)| answering.handle_proof(&said.proof, &secret(1)));
        assert!(outcome.is_err(), "dialer hello, bit {at}");
    }
    for at in 0..said.listener_hello.len() * 8 {
        let mut changed = said.listener_hello.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let (dialing, _) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
        let outcome = dialing.handle_hello(&changed, &secret(1)).and_then(|(_, proof)| {
            listener_hears(
                LISTENER_NONCE,
                &Said {
                    proof,
                    ..record(&hello, &Ok(()))
                },
            )
        });
        assert!(outcome.is_err(), "listener hello, bit {at}");
    }
    for at in 0..said.verdict.len() * 8 {
        let mut verdict = said.verdict.clone();
        verdict[at / 8] ^= 1 << (at % 8);
        let outcome = dialer_hears(
            &hello,
            DIALER_NONCE,
            &Said {
                verdict,
                ..record(&hello, &Ok(()))
            },
        );
        assert!(outcome.is_err(), "verdict, bit {at}");
    }
}

#[test]
fn node_id_0_is_refused() {
    let hello = DialerHello {
        identity: PeerIdentity {
            node_id: NodeId::new(0),
            ..node(1)
        },
        ..hello(Lane::Control, None)
    };
    let (_, bytes) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
    let error = Answering::begin(&bytes, VERSIONS, &LISTENER_NONCE).unwrap_err();
    assert_eq!(error, HelloError::Malformed("node id is 0"));
}

#[test]
fn announced_body_over_the_limit_is_refused_from_the_head() {
    let mut head = [0; HELLO_HEAD_BYTES];
    head[..MAGIC_BYTES].copy_from_slice(&DIALER_MAGIC);
    head[HELLO_HEAD_BYTES - 2..].copy_from_slice(&513_u16.to_be_bytes());
    assert!(hello_body_bytes(&head, Side::Dialer).is_err());
    head[HELLO_HEAD_BYTES - 2..].copy_from_slice(&512_u16.to_be_bytes());
    assert_eq!(hello_body_bytes(&head, Side::Dialer), Ok(512));
    assert!(verdict_rest_bytes([ADMITTED, 4, 1]).is_err());
    assert_eq!(verdict_rest_bytes([ADMITTED, 4, 0]), Ok(1024 + PROOF_BYTES));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Damaged and random messages never panic, on either side, at any point.
    #[test]
    fn random_and_cut_messages_never_panic(
        noise in vec(any::<u8>(), 0..400),
        cut in any::<prop::sample::Index>(),
        magic in any::<bool>(),
    ) {
        let hello = hello(Lane::Control, None);
        let said = record(&hello, &Ok(()));
        let mut noise = noise;
        if magic && noise.len() >= HELLO_HEAD_BYTES {
            noise[..MAGIC_BYTES].copy_from_slice(&DIALER_MAGIC);
            noise[MAGIC_BYTES..MAGIC_BYTES + 4].copy_from_slice(&[0, 1, 0, 1]);
            let length = u16::try_from(noise.len() - HELLO_HEAD_BYTES).unwrap();
            noise[HELLO_HEAD_BYTES - 2..HELLO_HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        }
        let cut_verdict = said.verdict[..cut.index(said.verdict.len())].to_vec();
        for bytes in [&noise, &cut_verdict] {
            let _ = Answering::begin(bytes, VERSIONS, &LISTENER_NONCE);
            let (dialing, _) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
            prop_assert!(dialing.handle_hello(bytes, &secret(1)).is_err());
            let (dialing, _) = Dialing::begin(&hello, VERSIONS, &DIALER_NONCE);
            let (proven, _) = dialing.handle_hello(&said.listener_hello, &secret(1)).unwrap();
            prop_assert!(proven.handle_verdict(bytes, &secret(1)).is_err());
        }
    }
}
