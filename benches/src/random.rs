//! Repeatable randomness, so that two runs measure the same accesses.

/// A SplitMix64 sequence.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Equal seeds give equal sequences.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bits = usize::try_from(self.next_bits() >> 1).unwrap_or(usize::MAX);
        bits.checked_rem(bound).unwrap_or(0)
    }
}

/// The 32 byte key number `number`: hexadecimal digits without any order.
#[must_use]
pub fn key_of(number: usize) -> [u8; 32] {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    let (mut left, mut right) = (mix(number), mix(!number));
    let mut key = [0; 32];
    let (head, tail) = key.split_at_mut(16);
    for (head, tail) in head.iter_mut().zip(tail) {
        *head = digit(&mut left);
        *tail = digit(&mut right);
    }
    key
}

/// Takes the lowest four bits as a hexadecimal digit.
fn digit(bits: &mut u64) -> u8 {
    let low = bits.to_le_bytes()[0] & 15;
    *bits >>= 4;
    if low < 10 { b'0' + low } else { b'a' + low - 10 }
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
