//! The handshake, both sides, without I/O.
//!
//! ```text
//!   dialer                                          listener
//!     │ hello: versions, mode, lane, who I am,          │
//!     │        whom I expect, nonce ──────────────────▶ │
//!     │ ◀───────────────────── hello: versions, nonce   │
//!     │ proof over both hellos ───────────────────────▶ │  (wrong: "refused", no more)
//!     │ ◀── verdict: who I am, admitted or why not,     │
//!     │             proof over all of the above         │
//! ```
//!
//! The dialer proves first: whoever merely connects to a listener learns its protocol
//! versions and nothing else. Each type below is one state; a message moves it into the
//! next, so nothing can be read early. A hello's body may only ever grow at its end:
//! unknown trailing bytes are ignored but are part of the transcript.
//!
//! Not encrypted by itself, and the frames that follow are not authenticated: without TLS around it somebody
//! who can change packets between two nodes can take a proven connection over.

use bytes::{Buf, BufMut};
use concord_core::ids::NodeId;
use concord_raft::ports::{Lane, PeerIdentity};

use crate::frame::{lane_code, lane_from_code};
use crate::limits::{HELLO_BODY_BYTES_MAX, REASON_BYTES_MAX, VERDICT_BODY_BYTES_MAX};
use crate::proof::{ClusterSecret, PROOF_BYTES, Side, Transcript};

/// Bytes of a hello before its body: magic, oldest and newest version, body length.
pub(crate) const HELLO_HEAD_BYTES: usize = 14;
/// Bytes of a verdict before its body: outcome, body length.
pub(crate) const VERDICT_HEAD_BYTES: usize = 3;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 32;

const MAGIC_BYTES: usize = 8;
const DIALER_MAGIC: [u8; MAGIC_BYTES] = *b"CONCORD>";
const LISTENER_MAGIC: [u8; MAGIC_BYTES] = *b"CONCORD<";

/// A proven dialer may come in.
const ADMITTED: u8 = 1;
/// A proven dialer may not come in; the body says why.
const REFUSED: u8 = 2;
/// The dialer's proof was wrong. Nothing follows.
const UNPROVEN: u8 = 3;

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) oldest: u16,
    pub(crate) newest: u16,
}

/// What this build speaks.
pub(crate) const VERSIONS: Versions = Versions { oldest: 1, newest: 1 };

impl Versions {
    /// The newest version that both know.
    fn common(self, other: Self) -> Option<u16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.oldest, self.newest)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Requests and answers.
    Call,
    /// One stream of messages each way.
    Stream,
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("what answers there does not speak the peer protocol")]
    NotConcord,
    #[error("the other side uses TLS and this node does not")]
    SpeaksTls,
    #[error("hello is malformed: {0}")]
    Malformed(&'static str),
    #[error("no common protocol version: this node speaks {ours}, the peer {theirs}")]
    Version { ours: Versions, theirs: Versions },
    /// The listener did not accept this dialer's proof.
    #[error("the peer did not accept this node's proof: the cluster secrets differ")]
    ProofRefused,
    /// The other side's proof is wrong.
    #[error("the peer's proof is wrong: the cluster secrets differ")]
    ProofWrong,
    /// A listener that has proven the secret says no.
    #[error("{0}")]
    Refused(String),
    #[error("node {found} answers there, not node {expected}")]
    WrongNode { expected: NodeId, found: NodeId },
}

/// What a dialer says of itself and asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialerHello {
    pub(crate) mode: Mode,
    pub(crate) lane: Lane,
    pub(crate) identity: PeerIdentity,
    /// Whom the dialer wants to talk to, if it knows.
    pub(crate) expected: Option<NodeId>,
}

/// What both sides know of a connection once it is proven and admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) version: u16,
    pub(crate) peer: PeerIdentity,
}

/// Length of a hello's body, from its head; the magic has been checked.
pub(crate) fn hello_body_bytes(head: &[u8; HELLO_HEAD_BYTES], sender: Side) -> Result<usize, HelloError> {
    let magic = match sender {
        Side::Dialer => DIALER_MAGIC,
        Side::Listener => LISTENER_MAGIC,
    };
    if !head.starts_with(&magic) {
        return Err(HelloError::NotConcord);
    }
    let (_, mut length) = head.split_at(HELLO_HEAD_BYTES - 2);
    let length = usize::from(length.get_u16());
    if length > HELLO_BODY_BYTES_MAX {
        return Err(HelloError::Malformed("body is too long"));
    }
    Ok(length)
}

/// Length of what follows a verdict's head.
pub(crate) fn verdict_rest_bytes(head: [u8; VERDICT_HEAD_BYTES]) -> Result<usize, HelloError> {
    let [outcome, high, low] = head;
    let body = usize::from(u16::from_be_bytes([high, low]));
    match outcome {
        UNPROVEN => Err(HelloError::ProofRefused),
        ADMITTED | REFUSED if body <= VERDICT_BODY_BYTES_MAX => Ok(body + PROOF_BYTES),
        ADMITTED | REFUSED => Err(HelloError::Malformed("verdict is too long")),
        _ => Err(HelloError::Malformed("verdict has an unknown outcome")),
    }
}

fn encode_hello(magic: [u8; MAGIC_BYTES], versions: Versions, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("hello bodies are at most 512 bytes");
    let mut out = Vec::with_capacity(HELLO_HEAD_BYTES + body.len());
    out.put_slice(&magic);
    out.put_u16(versions.oldest);
    out.put_u16(versions.newest);
    out.put_u16(length);
    out.put_slice(body);
    out
}

/// The versions and the body of a whole hello.
fn decode_hello(bytes: &[u8], sender: Side) -> Result<(Versions, &[u8]), HelloError> {
    let Some((head, body)) = bytes.split_first_chunk::<HELLO_HEAD_BYTES>() else {
        return Err(HelloError::Malformed("head is cut short"));
    };
    if hello_body_bytes(head, sender)? != body.len() {
        return Err(HelloError::Malformed(
            "body has another length than its head says",
        ));
    }
    let (_, mut versions) = head.split_at(MAGIC_BYTES);
    let versions = Versions {
        oldest: versions.get_u16(),
        newest: versions.get_u16(),
    };
    if versions.oldest > versions.newest {
        return Err(HelloError::Malformed("version range is empty"));
    }
    Ok((versions, body))
}

pub(crate) fn put_identity(out: &mut Vec<u8>, identity: &PeerIdentity) {
    out.put_u64(identity.node_id.get());
    out.put_u128(identity.store_id);
    out.put_u8(u8::from(identity.cluster_id.is_some()));
    out.put_u128(identity.cluster_id.unwrap_or(0));
}

const SHORT: HelloError = HelloError::Malformed("body is cut short");

pub(crate) fn take_identity(rest: &mut &[u8]) -> Result<PeerIdentity, HelloError> {
    let node_id = NodeId::new(rest.try_get_u64().map_err(|_| SHORT)?);
    if node_id.get() == 0 {
        return Err(HelloError::Malformed("node id is 0"));
    }
    let store_id = rest.try_get_u128().map_err(|_| SHORT)?;
    let member = rest.try_get_u8().map_err(|_| SHORT)?;
    let cluster_id = rest.try_get_u128().map_err(|_| SHORT)?;
    let cluster_id = match member {
        0 => None,
        1 => Some(cluster_id),
        _ => return Err(HelloError::Malformed("cluster flag is neither 0 nor 1")),
    };
    Ok(PeerIdentity {
        node_id,
        store_id,
        cluster_id,
    })
}

fn take_nonce(rest: &mut &[u8]) -> Result<[u8; NONCE_BYTES], HelloError> {
    let mut nonce = [0; NONCE_BYTES];
    rest.try_copy_to_slice(&mut nonce).map_err(|_| SHORT)?;
    Ok(nonce)
}

impl DialerHello {
    fn encode(&self, versions: Versions, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u8(match self.mode {
            Mode::Call => 1,
            Mode::Stream => 2,
        });
        body.put_u8(lane_code(self.lane));
        put_identity(&mut body, &self.identity);
        body.put_u64(self.expected.map_or(0, NodeId::get));
        body.put_slice(nonce);
        encode_hello(DIALER_MAGIC, versions, &body)
    }

    fn decode_body(mut rest: &[u8]) -> Result<Self, HelloError> {
        let rest = &mut rest;
        let mode = match rest.try_get_u8().map_err(|_| SHORT)? {
            1 => Mode::Call,
            2 => Mode::Stream,
            _ => return Err(HelloError::Malformed("mode is unknown")),
        };
        let lane = lane_from_code(rest.try_get_u8().map_err(|_| SHORT)?)
            .ok_or(HelloError::Malformed("lane is unknown"))?;
        let identity = take_identity(rest)?;
        let expected = rest.try_get_u64().map_err(|_| SHORT)?;
        let expected = (expected != 0).then_some(NodeId::new(expected));
        take_nonce(rest)?;
        Ok(Self {
            mode,
            lane,
            identity,
            expected,
        })
    }
}

/// A dialer that has sent its hello.
#[derive(Debug)]
pub(crate) struct Dialing {
    expected: Option<NodeId>,
    versions: Versions,
    transcript: Transcript,
}

impl Dialing {
    /// Begins: the bytes are to be sent.
    pub(crate) fn begin(
        hello: &DialerHello,
        versions: Versions,
        nonce: &[u8; NONCE_BYTES],
    ) -> (Self, Vec<u8>) {
        let bytes = hello.encode(versions, nonce);
        let mut transcript = Transcript::default();
        transcript.add(&bytes);
        (
            Self {
                expected: hello.expected,
                versions,
                transcript,
            },
            bytes,
        )
    }

    /// Takes the listener's hello in; the proof is to be sent.
    pub(crate) fn handle_hello(
        mut self,
        bytes: &[u8],
        secret: &ClusterSecret,
    ) -> Result<(DialerProven, [u8; PROOF_BYTES]), HelloError> {
        let (theirs, mut body) = decode_hello(bytes, Side::Listener)?;
        let version = self.versions.common(theirs).ok_or(HelloError::Version {
            ours: self.versions,
            theirs,
        })?;
        take_nonce(&mut body)?;
        self.transcript.add(bytes);
        let proof = secret.prove(Side::Dialer, &self.transcript);
        self.transcript.add(&proof);
        Ok((
            DialerProven {
                expected: self.expected,
                version,
                transcript: self.transcript,
            },
            proof,
        ))
    }
}

/// A dialer that has sent its proof.
#[derive(Debug)]
pub(crate) struct DialerProven {
    expected: Option<NodeId>,
    version: u16,
    transcript: Transcript,
}

impl DialerProven {
    /// Takes the whole verdict in. Believes nothing of it before its proof holds.
    pub(crate) fn handle_verdict(
        mut self,
        bytes: &[u8],
        secret: &ClusterSecret,
    ) -> Result<Agreed, HelloError> {
        let (head, _) = bytes
            .split_first_chunk::<VERDICT_HEAD_BYTES>()
            .ok_or(HelloError::Malformed("verdict is cut short"))?;
        if verdict_rest_bytes(*head)? != bytes.len() - VERDICT_HEAD_BYTES {
            return Err(HelloError::Malformed(
                "verdict has another length than its head says",
            ));
        }
        let (said, proof) = bytes.split_at(bytes.len() - PROOF_BYTES);
        self.transcript.add(said);
        if !secret.accepts(Side::Listener, &self.transcript, proof) {
            return Err(HelloError::ProofWrong);
        }
        let (_, mut body) = said.split_at(VERDICT_HEAD_BYTES);
        let peer = take_identity(&mut body)?;
        let reason_bytes = usize::from(body.try_get_u16().map_err(|_| SHORT)?);
        let reason = body.get(..reason_bytes).ok_or(SHORT)?;
        if head.starts_with(&[REFUSED]) {
            return Err(HelloError::Refused(String::from_utf8_lossy(reason).into_owned()));
        }
        match self.expected {
            Some(expected) if expected != peer.node_id => Err(HelloError::WrongNode {
                expected,
                found: peer.node_id,
            }),
            _ => Ok(Agreed {
                version: self.version,
                peer,
            }),
        }
    }
}

/// A listener that has read a hello and answers it.
#[derive(Debug)]
pub(crate) struct Answering {
    agreed: Result<(u16, DialerHello), HelloError>,
    transcript: Transcript,
}

impl Answering {
    /// Takes the dialer's hello in; the bytes are to be sent, even when no version fits:
    /// they tell the dialer why.
    pub(crate) fn begin(
        bytes: &[u8],
        ours: Versions,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<(Self, Vec<u8>), HelloError> {
        let (theirs, body) = decode_hello(bytes, Side::Dialer)?;
        // The body of a hello that no common version describes is not looked at.
        let agreed = match ours.common(theirs) {
            Some(version) => Ok((version, DialerHello::decode_body(body)?)),
            None => Err(HelloError::Version { ours, theirs }),
        };
        let answer = encode_hello(LISTENER_MAGIC, ours, nonce);
        let mut transcript = Transcript::default();
        transcript.add(bytes);
        transcript.add(&answer);
        Ok((Self { agreed, transcript }, answer))
    }

    /// Fails when there is no common version; the answer has told the dialer.
    pub(crate) fn check_version(&self) -> Result<(), HelloError> {
        self.agreed.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Takes the dialer's proof in.
    pub(crate) fn handle_proof(
        mut self,
        proof: &[u8; PROOF_BYTES],
        secret: &ClusterSecret,
    ) -> Result<Judging, HelloError> {
        let (version, hello) = self.agreed?;
        if !secret.accepts(Side::Dialer, &self.transcript, proof) {
            return Err(HelloError::ProofWrong);
        }
        self.transcript.add(proof);
        Ok(Judging {
            hello,
            version,
            transcript: self.transcript,
        })
    }
}

/// All that a listener says to a dialer without the secret.
pub(crate) const UNPROVEN_VERDICT: [u8; VERDICT_HEAD_BYTES] = [UNPROVEN, 0, 0];

/// A listener whose dialer has proven the secret.
#[derive(Debug)]
pub(crate) struct Judging {
    pub(crate) hello: DialerHello,
    /// What the frames that follow are written in.
    pub(crate) version: u16,
    transcript: Transcript,
}

impl Judging {
    /// Whether the dialer wants somebody else.
    pub(crate) fn check_expected(&self, own: &PeerIdentity) -> Result<(), String> {
        match self.hello.expected {
            Some(expected) if expected != own.node_id => Err(HelloError::WrongNode {
                expected,
                found: own.node_id,
            }
            .to_string()),
            _ => Ok(()),
        }
    }

    /// The verdict to be sent. A long reason is cut.
    pub(crate) fn verdict(
        mut self,
        own: &PeerIdentity,
        judgement: &Result<(), String>,
        secret: &ClusterSecret,
    ) -> Vec<u8> {
        let (outcome, reason) = match judgement {
            Ok(()) => (ADMITTED, ""),
            Err(reason) => (REFUSED, reason.as_str()),
        };
        let reason = reason
            .get(..reason.floor_char_boundary(REASON_BYTES_MAX))
            .unwrap_or_default();
        let mut body = Vec::new();
        put_identity(&mut body, own);
        body.put_u16(u16::try_from(reason.len()).expect("cut to 512 bytes above"));
        body.put_slice(reason.as_bytes());
        let mut out = vec![outcome];
        out.put_u16(u16::try_from(body.len()).expect("an identity and a cut reason are under 1 KiB"));
        out.put_slice(&body);
        self.transcript.add(&out);
        let proof = secret.prove(Side::Listener, &self.transcript);
        out.put_slice(&proof);
        out
    }
}

#[cfg(test)]
mod tests;
