//! The cluster secret and the proofs that both ends know it.
//!
//! A proof is HMAC-SHA256 over a label and every byte that was exchanged before it. The
//! label names the side, so a proof cannot be sent back to its maker; the transcript
//! holds both nonces, the lane, the mode and the expected node, so it proves nothing
//! about another connection. Leaves the order of messages to `hello`.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::limits::{SECRET_BYTES_MAX, SECRET_BYTES_MIN};

/// Bytes of a proof.
pub(crate) const PROOF_BYTES: usize = 32;

/// What all nodes of a cluster know and nobody else does.
///
/// Wiped from memory with its last clone; `Debug` does not show it. Use 32 random bytes:
/// somebody who gets a node to dial them can try guesses against what it sends.
#[derive(Clone)]
pub struct ClusterSecret(Arc<Zeroizing<Vec<u8>>>);

/// A secret that is too short to protect anything, or absurdly long. Never shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cluster secret has {bytes} bytes, needs {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
pub struct UnfitSecret {
    /// Its length.
    pub bytes: usize,
}

impl ClusterSecret {
    /// Takes the secret over.
    ///
    /// # Errors
    ///
    /// [`UnfitSecret`] unless it has 16 to 1,024 bytes. The bytes are wiped either way.
    pub fn new(bytes: Vec<u8>) -> Result<Self, UnfitSecret> {
        let bytes = Zeroizing::new(bytes);
        if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(Arc::new(bytes)))
        } else {
            Err(UnfitSecret { bytes: bytes.len() })
        }
    }

    /// Proves knowledge of the secret to whoever took part in `transcript`.
    pub(crate) fn prove(&self, side: Side, transcript: &Transcript) -> [u8; PROOF_BYTES] {
        self.seal(side.label(), &transcript.0)
    }

    /// HMAC-SHA256 over a label and bytes. Each use has its own label, none of which begins another, so that what was
    /// sealed for one says nothing in another.
    pub(crate) fn seal(&self, label: &[u8], bytes: &[u8]) -> [u8; PROOF_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(label);
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    /// Whether `proof` is what `side` would have sent, in time that tells nothing.
    pub(crate) fn accepts(&self, side: Side, transcript: &Transcript, proof: &[u8]) -> bool {
        bool::from(self.prove(side, transcript).as_slice().ct_eq(proof))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(hidden)")
    }
}

/// Who made a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialer,
    Listener,
}

impl Side {
    /// Of equal length, so that no label is the start of another with its transcript.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Dialer => b"concord peer proof 1, dialer  \0",
            Self::Listener => b"concord peer proof 1, listener\0",
        }
    }
}

/// What has been said on a connection so far. Each message carries its own length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript(Vec<u8>);

impl Transcript {
    pub(crate) fn add(&mut self, message: &[u8]) {
        self.0.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(bytes: &[u8]) -> Transcript {
        let mut transcript = Transcript::default();
        transcript.add(bytes);
        transcript
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let secret = ClusterSecret::new(b"canary-canary-canary".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "ClusterSecret(hidden)");
    }

    #[test]
    fn secret_of_unfit_length_is_refused_without_showing_it() {
        let short = ClusterSecret::new(b"canary".to_vec()).unwrap_err();
        assert_eq!(short, UnfitSecret { bytes: 6 });
        assert!(!format!("{short} {short:?}").contains("canary"));
        assert!(ClusterSecret::new(vec![1; SECRET_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn proof_holds_for_one_side_one_secret_and_one_transcript() {
        let secret = ClusterSecret::new(vec![7; 32]).unwrap();
        let other = ClusterSecret::new(vec![8; 32]).unwrap();
        let proof = secret.prove(Side::Dialer, &transcript(b"abc"));
        assert!(secret.accepts(Side::Dialer, &transcript(b"abc"), &proof));
        assert!(!secret.accepts(Side::Listener, &transcript(b"abc"), &proof));
        assert!(!secret.accepts(Side::Dialer, &transcript(b"abd"), &proof));
        assert!(!other.accepts(Side::Dialer, &transcript(b"abc"), &proof));
        assert!(!secret.accepts(Side::Dialer, &transcript(b"abc"), &proof[..31]));
        assert!(!secret.accepts(Side::Dialer, &transcript(b"abc"), &[]));
    }

    #[test]
    fn proof_is_hmac_sha256_of_label_and_transcript() {
        // Computed apart, with Python's hmac module.
        let secret = ClusterSecret::new((0..32).collect()).unwrap();
        let proof = secret.prove(Side::Dialer, &transcript(b"transcript"));
        assert_eq!(proof.map(|byte| format!("{byte:02x}")).concat(), PYTHON_PROOF);
    }

    const PYTHON_PROOF: &str = "cb0aeeb3e3656309bf309ca8a6660f1a630dd1e64fd63f1b6fd02e5fde7cbfd3";
}
