//! The chain: each line carries the hash of itself and the one before.
//!
//! ```text
//!   hash(line) = SHA-256( hash of the line before, as 64 hexadecimal digits  ‖  the line up to `,"hash":"` )
//! ```
//!
//! With a secret it is HMAC-SHA-256 of the same bytes, under a key derived from the secret: then nobody can
//! make a line, or the rest of a chain, who does not know it. Hexadecimal digits go in, not bytes, so that
//! the chain can be checked with nothing but a text editor and `sha256sum`.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of a hash.
pub(super) const HASH_CHARS: usize = 64;

/// A hash as it stands in a line: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; HASH_CHARS]);

impl Hash {
    /// What the first line of the first file follows.
    pub(super) const NONE: Self = Self([b'0'; HASH_CHARS]);

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = text.try_into().ok()?;
        text.iter().all(is_digit).then_some(Self(digits))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn of(bytes: [u8; 32]) -> Self {
        let mut text = [b'0'; HASH_CHARS];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&hex_digits(byte));
        }
        Self(text)
    }
}

/// A byte as two lower-case hexadecimal digits.
pub(super) const fn hex_digits(byte: u8) -> [u8; 2] {
    [hex_digit(byte >> 4), hex_digit(byte & 15)]
}

/// Without a table, so that many are made at once.
const fn hex_digit(half: u8) -> u8 {
    half + if half < 10 { b'0' } else { b'a' - 10 }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is made of the audit secret. None of it can be turned back into the secret.
#[derive(Clone)]
pub(crate) struct Keys {
    lines: Hmac<Sha256>,
    names: Hmac<Sha256>,
    id: String,
}

impl Keys {
    pub(crate) fn derive(secret: &[u8]) -> Self {
        let keyed = |label: &[u8]| {
            let mut mac = keyed_by(secret);
            mac.update(label);
            <[u8; 32]>::from(mac.finalize().into_bytes())
        };
        let id = Hash::of(keyed(b"concord audit key id 1"));
        Self {
            lines: keyed_by(&keyed(b"concord audit lines 1")),
            names: keyed_by(&keyed(b"concord audit names 1")),
            id: id.as_str().chars().take(16).collect(),
        }
    }

    /// Tells one secret from another, and nothing else of it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

fn keyed_by(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// How lines are sealed.
#[derive(Clone, Debug)]
pub(super) enum Seal {
    /// By a hash that everybody can compute.
    Plain,
    /// By one that takes the secret.
    Keyed(Box<Keys>),
}

impl Seal {
    /// Its name in the header of a file.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "sha256",
            Self::Keyed(_) => "hmac-sha256",
        }
    }

    /// Which secret it takes; empty: none.
    pub(super) fn key_id(&self) -> &str {
        match self {
            Self::Plain => "",
            Self::Keyed(keys) => keys.id(),
        }
    }

    /// The hash of a line whose text up to its hash is `body`.
    pub(super) fn hash(&self, previous: &Hash, body: &[u8]) -> Hash {
        Hash::of(match self {
            Self::Plain => {
                let mut hash = Sha256::new();
                hash.update(previous.0);
                hash.update(body);
                hash.finalize().into()
            }
            Self::Keyed(keys) => {
                let mut mac = keys.lines.clone();
                mac.update(&previous.0);
                mac.update(body);
                mac.finalize().into_bytes().into()
            }
        })
    }
}

/// The hash of names: of a key instead of the key, of all keys of a request.
pub(super) enum NameHash {
    Plain(Sha256),
    Keyed(Box<Hmac<Sha256>>),
}

impl NameHash {
    pub(super) fn new(keys: Option<&Keys>) -> Self {
        match keys {
            None => Self::Plain(Sha256::new()),
            Some(keys) => Self::Keyed(Box::new(keys.names.clone())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(hash) => hash.update(bytes),
            Self::Keyed(mac) => mac.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Hash {
        Hash::of(match self {
            Self::Plain(hash) => hash.finalize().into(),
            Self::Keyed(mac) => mac.finalize().into_bytes().into(),
        })
    }
}
