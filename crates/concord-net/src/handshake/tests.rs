//! The handshake over an in-memory pipe, with honest and with hostile ends.

use std::future::Future;

use concord_raft::ports::Lane;
use tokio::io::{DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::hello::Mode;
use crate::testing::{node, secret};

const LIMIT: Duration = Duration::from_secs(5);

fn hello() -> DialerHello {
    DialerHello {
        mode: Mode::Call,
        lane: Lane::Control,
        identity: node(1),
        expected: Some(node(2).node_id),
    }
}

/// Dials with one secret and gives back both the outcome and the stream's other end's.
async fn shake(dialers: u8, listeners: u8) -> (Result<Agreed, HandshakeError>, Result<(), HandshakeError>) {
    let (mut here, mut there) = duplex(4096);
    let dialer = async move { dial(&mut here, &hello(), &secret(dialers), LIMIT).await };
    let listener = async move { listen(&mut there, listeners).await };
    tokio::join!(dialer, listener)
}

async fn listen(stream: &mut DuplexStream, byte: u8) -> Result<(), HandshakeError> {
    let judge = |_: &Judging| Judgement {
        own: node(2),
        place: Ok(()),
    };
    answer(stream, &secret(byte), LIMIT, judge).await.map(|_| ())
}

#[tokio::test]
async fn equal_secrets_agree() {
    let (dialer, listener) = shake(1, 1).await;
    assert_eq!(
        dialer.unwrap(),
        Agreed {
            version: 1,
            peer: node(2)
        }
    );
    listener.unwrap();
}

#[tokio::test]
async fn different_secrets_are_refused_without_a_reason_from_the_engine() {
    let (dialer, listener) = shake(1, 2).await;
    assert!(
        matches!(dialer, Err(HandshakeError::Hello(HelloError::ProofRefused))),
        "{dialer:?}"
    );
    assert!(
        matches!(listener, Err(HandshakeError::Hello(HelloError::ProofWrong))),
        "{listener:?}"
    );
}

#[tokio::test]
async fn dialer_without_the_secret_learns_versions_a_nonce_and_nothing_else() {
    let (mut here, mut there) = duplex(4096);
    let listener = tokio::spawn(async move { listen(&mut there, 2).await });
    let (_, bytes) = Dialing::begin(&hello(), VERSIONS, &[1; NONCE_BYTES]);
    here.write_all(&bytes).await.unwrap();
    here.write_all(&[0; PROOF_BYTES]).await.unwrap();
    let mut heard = Vec::new();
    here.read_to_end(&mut heard).await.unwrap();
    assert_eq!(
        heard.len(),
        HELLO_HEAD_BYTES + NONCE_BYTES + UNPROVEN_VERDICT.len()
    );
    assert!(listener.await.unwrap().is_err());
}

#[tokio::test]
async fn judge_is_not_asked_before_the_proof() {
    let (mut here, mut there) = duplex(4096);
    let (_, bytes) = Dialing::begin(&hello(), VERSIONS, &[1; NONCE_BYTES]);
    here.write_all(&bytes).await.unwrap();
    here.write_all(&[0; PROOF_BYTES]).await.unwrap();
    let judge = |_: &Judging| -> Judgement<()> { panic!("asked about a peer that proved nothing") };
    assert!(answer(&mut there, &secret(2), LIMIT, judge).await.is_err());
}

#[tokio::test]
async fn random_bytes_are_dropped_at_their_first_fourteen() {
    let (mut here, mut there) = duplex(4096);
    here.write_all(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n")
        .await
        .unwrap();
    let outcome = listen(&mut there, 1).await;
    assert!(
        matches!(outcome, Err(HandshakeError::Hello(HelloError::NotConcord))),
        "{outcome:?}"
    );
    let mut rest = vec![0; 100];
    let rest_bytes = there.read(&mut rest).await.unwrap();
    assert_eq!(rest_bytes, 35 - HELLO_HEAD_BYTES);
}

async fn times_out(talk: impl Future<Output = Result<(), HandshakeError>>) {
    let began = Instant::now();
    let outcome = talk.await;
    assert!(matches!(outcome, Err(HandshakeError::Timeout(_))), "{outcome:?}");
    assert_eq!(began.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn half_open_dialer_is_dropped_at_the_deadline() {
    let (_here, mut there) = duplex(4096);
    times_out(listen(&mut there, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn dialer_that_never_proves_itself_is_dropped_at_the_deadline() {
    let (mut here, mut there) = duplex(4096);
    let (_, bytes) = Dialing::begin(&hello(), VERSIONS, &[1; NONCE_BYTES]);
    here.write_all(&bytes).await.unwrap();
    times_out(listen(&mut there, 1)).await;
}

/// The deadline is for the whole handshake: a byte now and then does not extend it.
#[tokio::test(start_paused = true)]
async fn dripping_dialer_is_dropped_at_the_deadline() {
    let (mut here, mut there) = duplex(4096);
    let (_, bytes) = Dialing::begin(&hello(), VERSIONS, &[1; NONCE_BYTES]);
    let drip = async {
        for byte in bytes {
            if here.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        biased; // the listener's deadline is what is measured
        () = times_out(listen(&mut there, 1)) => {}
        () = drip => panic!("the whole hello was taken"),
    }
}

#[tokio::test(start_paused = true)]
async fn listener_that_never_answers_is_given_up_at_the_deadline() {
    let (mut here, _there) = duplex(4096);
    times_out(async { dial(&mut here, &hello(), &secret(1), LIMIT).await.map(|_| ()) }).await;
}

#[tokio::test]
async fn dialer_hears_that_no_version_is_common() {
    let (mut here, mut there) = duplex(4096);
    let listener = async move {
        let bytes = read_hello(&mut there, Side::Dialer).await.unwrap();
        let newer = crate::hello::Versions { oldest: 7, newest: 8 };
        let (_, answer) = Answering::begin(&bytes, newer, &[2; NONCE_BYTES]).unwrap();
        there.write_all(&answer).await.unwrap();
    };
    let (hello, secret) = (hello(), secret(1));
    let (outcome, ()) = tokio::join!(dial(&mut here, &hello, &secret, LIMIT), listener);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "no common protocol version: this node speaks 1 to 1, the peer 7 to 8"
    );
}

#[tokio::test]
async fn peer_that_hangs_up_is_no_refusal() {
    let (mut here, there) = duplex(4096);
    drop(there);
    let outcome = dial(&mut here, &hello(), &secret(1), LIMIT).await;
    assert!(matches!(outcome, Err(HandshakeError::Abandoned)), "{outcome:?}");
}
