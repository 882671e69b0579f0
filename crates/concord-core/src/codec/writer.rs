//! The counterpart of [`super::reader`]: appends parts to a buffer.

use alloc::vec::Vec;

/// Appends an unsigned LEB128 number.
pub(crate) fn number(value: u64, out: &mut Vec<u8>) {
    let mut left = value;
    loop {
        let low = low_bits(left);
        left >>= 7;
        if left == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn low_bits(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low & 0x7f
}

/// How many bytes [`number`] takes.
#[cfg(test)]
pub(crate) fn number_len(value: u64) -> usize {
    let bits = usize::try_from(64 - value.leading_zeros()).unwrap();
    bits.max(1).div_ceil(7)
}

/// Appends a byte string behind its length.
pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    count(value.len(), out);
    out.extend_from_slice(value);
}

/// Appends a count or length.
pub(crate) fn count(value: usize, out: &mut Vec<u8>) {
    number(u64::try_from(value).unwrap_or(u64::MAX), out);
}

/// Appends an optional number: one byte says whether it is there.
pub(crate) fn optional(value: Option<u64>, out: &mut Vec<u8>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            number(value, out);
        }
    }
}

/// Appends a signed number so that small magnitudes are short (zigzag).
pub(crate) fn signed(value: i64, out: &mut Vec<u8>) {
    number((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned(), out);
}
