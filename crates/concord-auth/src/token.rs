//! Bearer tokens: the secret that a caller shows, and what of it may be stored.
//!
//! A secret is 256 random bits, so one round of SHA-256 is enough to store it by: there is nothing to
//! guess, and what slow hashes protect, short passwords, cannot occur.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What every secret starts with, so that scanners of source code find one that leaked.
pub const PREFIX: &str = "sk_concord_";

/// How many random bytes a secret is made of.
pub const ENTROPY_BYTES: usize = 32;

/// How many characters they are written in: base64 for URLs (RFC 4648, section 5), without padding.
const ENCODED_CHARS: usize = 43;

/// The secret of a token. Never printed; wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Text that is no secret of ours. Says nothing about what is wrong with it, so that it can be the one
/// answer to everybody who may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing, unknown, expired or revoked token")]
pub struct Unauthorized;

impl Secret {
    /// The secret of these random bytes. They must come from the system's own source of randomness.
    #[must_use]
    pub fn from_entropy(entropy: &Zeroizing<[u8; ENTROPY_BYTES]>) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + ENCODED_CHARS));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(entropy.as_slice(), &mut text);
        Self(text)
    }

    /// A secret as a caller shows it.
    ///
    /// # Errors
    ///
    /// If no secret is written like that.
    pub fn parse(text: &str) -> Result<Self, Unauthorized> {
        let encoded = text.strip_prefix(PREFIX).ok_or(Unauthorized)?;
        let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if encoded.len() == ENCODED_CHARS && encoded.bytes().all(is_encoded) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(Unauthorized)
        }
    }

    /// The secret itself, for the one place that shows it to whom it was made for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What of it may be stored.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The SHA-256 of a secret. A verifier: not printed either (compare CVE-2019-0201 of ZooKeeper).
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// A hash that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for storing it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public name of the token: it tells nothing of the secret, and nothing of the hash.
    #[must_use]
    pub fn id(&self) -> TokenId {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"concord token id")
            .chain_update(self.0)
            .finalize()
            .into();
        let mut id = [0; TokenId::BYTES];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        TokenId(id)
    }
}

/// In constant time.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

/// The public name of a token: in lists, logs and the audit trail. Written as 24 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; Self::BYTES]);

/// Text that is no id of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token id is 24 hexadecimal digits")]
pub struct InvalidTokenId;

impl TokenId {
    /// How many bytes it has.
    pub const BYTES: usize = 12;

    /// An id that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Reads an id as it is printed.
    ///
    /// # Errors
    ///
    /// If it is not 24 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenId> {
        let mut id = [0; Self::BYTES];
        let mut digits = text.chars().map(|digit| digit.to_digit(16));
        for byte in &mut id {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
                return Err(InvalidTokenId);
            };
            *byte = u8::try_from(high << 4 | low).map_err(|_| InvalidTokenId)?;
        }
        match digits.next() {
            None => Ok(Self(id)),
            Some(_) => Err(InvalidTokenId),
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::from_entropy(&Zeroizing::new([byte; ENTROPY_BYTES]))
    }

    #[test]
    fn a_secret_is_written_and_read_as_url_safe_base64() {
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        for (byte, value) in entropy.iter_mut().zip(0..) {
            *byte = value;
        }
        // As `base64.urlsafe_b64encode(bytes(range(32)))` of Python writes it, without its padding.
        let text = "sk_concord_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert_eq!(Secret::from_entropy(&entropy).expose(), text);
        assert_eq!(
            Secret::parse(text).unwrap().hash(),
            Secret::from_entropy(&entropy).hash()
        );
        assert!(secret(255).expose().ends_with("__8"));
    }

    #[test]
    fn whatever_is_no_secret_gets_one_answer() {
        let good = secret(7).expose().to_owned();
        for text in [
            "",
            "sk_concord_",
            "SK_CONCORD_AAAA",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}A"),
            &good.replace('B', "+"),
            &good.replace("sk_", "pk_"),
        ] {
            assert_eq!(Secret::parse(text).unwrap_err(), Unauthorized, "{text}");
        }
    }

    #[test]
    fn neither_secret_nor_hash_is_shown() {
        let shown = format!("{:?} {:?}", secret(1), secret(1).hash());
        assert_eq!(shown, "Secret(hidden) TokenHash(hidden)");
    }

    #[test]
    fn an_id_tells_tokens_apart_and_reads_back() {
        let (one, other) = (secret(1).hash().id(), secret(2).hash().id());
        assert_ne!(one, other);
        assert_eq!(TokenId::parse(&one.to_string()), Ok(one));
        let hash: String = secret(1)
            .hash()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(!hash.contains(&one.to_string()));
        for text in [
            "",
            "00",
            "0g0000000000000000000000",
            &format!("{one}0"),
            &one.to_string()[1..],
        ] {
            assert_eq!(TokenId::parse(text), Err(InvalidTokenId), "{text}");
        }
    }
}
