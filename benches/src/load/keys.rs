//! Keys and values that can be checked, from a seed.

/// Bytes of every key.
pub(super) const KEY_BYTES: usize = 32;

/// A small, fast generator (SplitMix64): loads, not secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0. Even to one part in 2^32.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(((self.next_u64() >> 32) * (bound & 0xffff_ffff)) >> 32).unwrap_or(0)
    }
}

/// The keys of a run and what their values look like.
#[derive(Debug)]
pub struct KeySpace {
    keys: Vec<[u8; KEY_BYTES]>,
    value_bytes: usize,
}

impl KeySpace {
    /// `count` keys of 32 hexadecimal digits, in no order.
    pub fn new(count: usize, value_bytes: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let digits = b"0123456789abcdef";
        let key = |_| {
            let bits = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
            std::array::from_fn(|place| {
                let digit = usize::try_from(bits >> (4 * place) & 0xf).unwrap_or(0);
                digits.get(digit).copied().unwrap_or(b'0')
            })
        };
        Self {
            keys: (0..count.max(1)).map(key).collect(),
            value_bytes,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: there is at least one key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A key.
    pub fn key(&self, number: usize) -> &str {
        let key = self
            .keys
            .get(number)
            .map_or(b"".as_slice(), <[u8; KEY_BYTES]>::as_slice);
        std::str::from_utf8(key).expect("keys are hexadecimal digits")
    }

    /// Any key.
    pub fn any(&self, random: &mut Random) -> usize {
        random.below(self.keys.len())
    }

    /// A value for a key: the key, then bytes that change with each write.
    pub fn value(&self, number: usize, random: &mut Random, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.key(number).as_bytes());
        while out.len() < self.value_bytes {
            out.extend_from_slice(&random.next_u64().to_le_bytes());
        }
        out.truncate(self.value_bytes);
    }

    /// Whether a value is one that was written for that key.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, number: usize, value: &[u8]) -> Result<(), String> {
        let stem = self.stem(number);
        if value.len() != self.value_bytes {
            return Err(format!(
                "wrong answer: a value of {} bytes, not {}",
                value.len(),
                self.value_bytes
            ));
        }
        if !value.starts_with(stem) {
            return Err("wrong answer: the value of another key".to_owned());
        }
        Ok(())
    }

    /// The part of every value of a key that never changes.
    pub fn stem(&self, number: usize) -> &[u8] {
        let key = self.key(number).as_bytes();
        key.get(..self.value_bytes.min(KEY_BYTES)).unwrap_or(key)
    }

    /// Bytes of every value.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_the_same_for_the_same_seed() {
        let (keys, again) = (KeySpace::new(10_000, 100, 7), KeySpace::new(10_000, 100, 7));
        assert_eq!(keys.keys, again.keys);
        let distinct: std::collections::BTreeSet<_> = keys.keys.iter().collect();
        assert_eq!(distinct.len(), 10_000);
    }

    #[test]
    fn value_is_accepted_for_its_own_key_only() {
        let keys = KeySpace::new(2, 100, 7);
        let (mut random, mut value) = (Random::new(1), Vec::new());
        keys.value(0, &mut random, &mut value);
        assert_eq!(keys.check(0, &value), Ok(()));
        assert!(keys.check(1, &value).is_err());
        assert!(keys.check(0, &value[..99]).is_err());
    }

    #[test]
    fn choice_reaches_every_key() {
        let (keys, mut random) = (KeySpace::new(10, 8, 7), Random::new(3));
        let chosen: std::collections::BTreeSet<_> = (0..1_000).map(|_| keys.any(&mut random)).collect();
        assert_eq!(chosen, (0..10).collect());
    }
}
