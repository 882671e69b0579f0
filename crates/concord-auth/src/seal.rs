//! Text that the nodes of a cluster give to callers and read back, and that tells callers nothing.
//!
//! A cursor can stand at a key that its reader may not see. It is sealed with a key that is part of the policy, so that any
//! node can go on with it:
//!
//! ```text
//!   padded = length: 2 bytes | text | zeros, to a multiple of 1,280 bytes
//!   tag    = HMAC-SHA-256(key, "tag" | padded), its first 16 bytes
//!   sealed = tag | padded xor HMAC-SHA-256(key, "stream" | tag | block number) ...
//! ```
//!
//! The tag is made of the text alone, so nothing random is needed, and the same place gives the same cursor.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// How many random bytes a key is.
pub const SEAL_KEY_BYTES: usize = 32;

const TAG_BYTES: usize = 16;
/// What the longest key and what stands beside it fit into, so that a length tells nothing.
const PADDING_BYTES: usize = 1_280;

/// The key that cursors are sealed with. Never printed; wiped from memory when dropped.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; SEAL_KEY_BYTES]>);

impl SealKey {
    /// The key of these bytes. They must come from the system's own source of randomness.
    #[must_use]
    pub const fn new(bytes: Zeroizing<[u8; SEAL_KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Seals up to 64 KiB of text; more than that is cut, and will not open.
    #[must_use]
    pub fn seal(&self, text: &[u8]) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let mut padded = Zeroizing::new(length.to_be_bytes().to_vec());
        padded.extend_from_slice(text);
        let size = padded.len().next_multiple_of(PADDING_BYTES);
        padded.resize(size, 0);
        let tag = self.tag(&padded);
        self.stream(&tag, &mut padded);
        [tag.as_slice(), &padded].concat()
    }

    /// What was sealed; `None` if it was not sealed with this key, or changed on the way.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, hidden) = sealed.split_first_chunk::<TAG_BYTES>()?;
        let mut padded = hidden.to_vec();
        self.stream(tag, &mut padded);
        let is_ours: bool = self.tag(&padded).ct_eq(tag).into();
        let (length, text) = padded.split_first_chunk::<2>()?;
        let text = text.get(..usize::from(u16::from_be_bytes(*length)))?;
        is_ours.then(|| text.to_vec())
    }

    fn tag(&self, padded: &[u8]) -> [u8; TAG_BYTES] {
        let mac = self.mac(&[b"tag", padded]);
        let mut tag = [0; TAG_BYTES];
        for (to, from) in tag.iter_mut().zip(mac) {
            *to = from;
        }
        tag
    }

    fn stream(&self, tag: &[u8; TAG_BYTES], bytes: &mut [u8]) {
        for (block, chunk) in (0_u32..).zip(bytes.chunks_mut(32)) {
            let stream = self.mac(&[b"stream", tag, &block.to_be_bytes()]);
            for (byte, with) in chunk.iter_mut().zip(stream) {
                *byte ^= with;
            }
        }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.as_bytes()).expect("an HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::new(Zeroizing::new([byte; SEAL_KEY_BYTES]))
    }

    #[test]
    fn what_is_sealed_opens_only_with_its_key_and_unchanged() {
        for text in [&b""[..], b"secret:key", &[7; 1_200], &[1; 5_000]] {
            let sealed = key(1).seal(text);
            assert_eq!(key(1).open(&sealed).as_deref(), Some(text));
            assert_eq!(key(2).open(&sealed), None);
            for place in [0, 15, 16, 17, sealed.len() / 2, sealed.len() - 1] {
                let mut changed = sealed.clone();
                changed[place] ^= 1;
                assert_eq!(key(1).open(&changed), None, "byte {place}");
            }
            assert_eq!(key(1).open(&sealed[..sealed.len() - 1]), None);
        }
        assert_eq!(key(1).open(b""), None);
    }

    #[test]
    fn sealed_text_tells_neither_what_nor_how_much_it_was() {
        let (short, long) = (key(1).seal(b"a"), key(1).seal(&[b'a'; 1_100]));
        assert_eq!(short.len(), long.len());
        assert!(!long.windows(4).any(|four| four == b"aaaa"));
        assert_eq!(format!("{:?}", key(7)), "SealKey(hidden)");
    }
}
