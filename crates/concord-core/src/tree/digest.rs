//! What nodes keep of keys so that a search rarely has to look at the keys themselves.

/// The first eight bytes as a number that orders as they do; a short rest is padded with
/// zeros, so equal digests decide nothing.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    if let Some(head) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_be_bytes(head)
}

/// How many leading bytes `left` and `right` share.
pub(super) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count()
}

/// One byte of a hash over the whole key. Four lanes, because a key of a kibibyte would
/// otherwise wait for 128 multiplications in a row.
pub(super) fn fingerprint(key: &[u8]) -> u8 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let step = |lane: u64, word: u64| (lane.rotate_left(29) ^ word).wrapping_mul(FACTOR);
    let [mut a, mut b, mut c, mut d] = [1_u64, 2, 3, 4];
    let (words, rest) = key.as_chunks::<8>();
    let (blocks, words) = words.as_chunks::<4>();
    for &[w, x, y, z] in blocks {
        a = step(a, u64::from_le_bytes(w));
        b = step(b, u64::from_le_bytes(x));
        c = step(c, u64::from_le_bytes(y));
        d = step(d, u64::from_le_bytes(z));
    }
    for word in words {
        a = step(a, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        b = step(b, digest(rest));
    }
    let [_, .., top] = step(step(a, b), step(c, d)).to_le_bytes();
    top
}
