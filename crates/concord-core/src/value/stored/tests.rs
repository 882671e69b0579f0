//! What packs must unpack, and what is poisoned must not.

use alloc::string::String;

use super::*;

fn long() -> Value {
    Value::text("the same words again and ".repeat(100))
}

fn packed(value: Value) -> StoredValue {
    let mut value = StoredValue::from(value);
    value.pack(3);
    assert!(value.is_packed());
    value
}

/// Bytes that claim `raw_len` and hold this frame.
fn claiming(raw_len: u64, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![ZSTD];
    writer::number(raw_len, &mut bytes);
    bytes.extend_from_slice(frame);
    bytes
}

fn frame_of(raw: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; zstd_safe::compress_bound(raw.len())];
    let len = zstd_safe::compress(frame.as_mut_slice(), raw, 3).unwrap();
    frame.truncate(len);
    frame
}

fn text(bytes: Vec<u8>) -> Result<StoredValue, CorruptValue> {
    StoredValue::packed(ValueFormat::Text, Bytes::from(bytes))
}

#[test]
fn what_is_packed_unpacks_to_what_it_was() {
    for level in PACKING_LEVELS {
        let mut value = StoredValue::from(long());
        value.pack(level);
        assert!(value.is_packed() && value.bytes().len() < 100);
        assert_eq!(value.raw_len(), long().bytes().len());
        let read = StoredValue::packed(value.format(), value.bytes().clone());
        assert_eq!(read.as_ref(), Ok(&value));
        assert_eq!(value.clone().into_plain(), None);
        assert_eq!(value.unpack(), Ok(long()));
    }
}

#[test]
fn what_does_not_shrink_is_kept_as_it_is() {
    let noise: Vec<u8> = (0..5_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ n.wrapping_mul(40_503).to_be_bytes()[1])
        .collect();
    for raw in [Vec::new(), vec![1], b"short".to_vec(), noise] {
        let mut value = StoredValue::from(Value::binary(raw.clone()));
        value.pack(3);
        let plain = Value::binary(raw);
        assert!(value.bytes().len() <= plain.bytes().len());
        assert_eq!(value.unpack(), Ok(plain));
    }
}

/// D-DATA-11: whether a value is packed is said beside it, not found in it.
#[test]
fn a_value_that_looks_packed_is_not_unpacked() {
    let looks = packed(long()).bytes().clone();
    let plain = StoredValue::from(Value::binary(looks.clone()));
    assert!(!plain.is_packed());
    assert_eq!(plain.as_ref().content().unwrap(), looks.as_ref());
    assert_eq!(plain.unpack(), Ok(Value::binary(looks)));
}

#[test]
fn a_head_that_lies_is_refused_at_once() {
    let frame = frame_of(long().bytes());
    let raw_len = u64::try_from(long().bytes().len()).unwrap();
    assert!(text(claiming(raw_len, &frame)).is_ok());
    let refused = [
        vec![],
        vec![ZSTD],
        vec![ZSTD, 0x80],
        claiming(VALUE_BYTES_MAX + 1, &frame),
        claiming(u64::MAX, &frame),
        // Not smaller than what it stands for.
        claiming(10, &frame),
        claiming(0, b""),
        [vec![2], claiming(raw_len, &frame)[1..].to_vec()].concat(),
    ];
    for bytes in refused {
        assert!(text(bytes.clone()).is_err(), "{bytes:?}");
    }
}

/// A bomb, a lie about the size, and what is no frame at all: refused, whatever looks at it.
#[test]
fn poisoned_frames_are_corrupt() {
    let raw_len = 2_500;
    let bomb = frame_of(&vec![0; 1 << 24]);
    let honest = frame_of(long().bytes());
    let mut cut = honest.clone();
    cut.pop();
    let poisons = [
        claiming(raw_len, &bomb),
        claiming(raw_len + 1, &honest),
        claiming(raw_len - 1, &honest),
        claiming(raw_len, &cut),
        claiming(raw_len, &[honest.as_slice(), b"more"].concat()),
        claiming(raw_len, &[honest.as_slice(), honest.as_slice()].concat()),
        claiming(raw_len, b"no frame"),
        claiming(raw_len, b""),
        // A frame that may be skipped.
        claiming(raw_len, &[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0]),
        claiming(raw_len, &frame_of(&vec![0xff; 2_500])),
    ];
    for bytes in poisons {
        let value = text(bytes.clone()).unwrap();
        assert!(value.clone().unpack().is_err(), "{bytes:?}");
        assert!(value.as_ref().content().is_err());
        let mut stays = value.clone();
        assert!(stays.make_plain().is_err());
        assert_eq!(stays, value);
        // Of what is damaged nothing is equal.
        assert_ne!(value.as_ref().is(&long()), Ok(true));
    }
}

#[test]
fn damaged_bytes_never_panic_and_never_grow() {
    let good = packed(long());
    for at in 0..good.bytes().len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = good.bytes().to_vec();
            bytes[at] ^= change;
            let Ok(value) = text(bytes) else { continue };
            let _ = value.as_ref().compare(long().bytes());
            if let Ok(read) = value.clone().unpack() {
                assert_eq!(read.bytes().len(), value.raw_len());
            }
        }
    }
}

/// D-DATA-13: equal is what has the same format and the same content, however it is kept.
#[test]
fn comparison_is_that_of_the_content() {
    let base = String::from_utf8(long().bytes().to_vec()).unwrap().repeat(40);
    let mut later = base.clone();
    later.replace_range(70_000..70_001, "~");
    let others = [
        base.clone(),
        later.clone(),
        base[..base.len() - 1].into(),
        base.clone() + "x",
        String::new(),
        "zzz".into(),
        "a".into(),
    ];
    for one in [&base, &later] {
        let stored = packed(Value::text(one.as_str()));
        for other in &others {
            let order = stored.as_ref().compare(other.as_bytes());
            assert_eq!(order, Ok(one.as_bytes().cmp(other.as_bytes())));
            let is_same = stored.as_ref().is(&Value::text(other.as_str()));
            assert_eq!(is_same, Ok(one == other));
            let is_bytes = stored.as_ref().is(&Value::binary(other.clone().into_bytes()));
            assert_eq!(is_bytes, Ok(false), "another format is another value");
        }
    }
}
