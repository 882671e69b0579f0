//! The canonical form, byte by byte, and what is refused for not being it.

use alloc::vec;

use super::*;

fn object(fields: &[(&str, Document)]) -> Document {
    Document::Object(
        fields
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect(),
    )
}

/// Asserts the canonical bytes of `document`, and that exactly they read back as it.
fn check(document: &Document, bytes: &[u8]) {
    assert_eq!(document.encode().unwrap(), bytes);
    assert_eq!(Document::decode(bytes).as_ref(), Ok(document));
    assert_eq!(validate(bytes), Ok(()));
    for cut in 0..bytes.len() {
        assert!(validate(&bytes[..cut]).is_err(), "a cut document is refused");
    }
}

fn refuses(bytes: &[u8], why: &str) {
    assert!(
        matches!(validate(bytes), Err(DocumentError::Malformed { what, .. }) if what == why),
        "{:?}",
        validate(bytes)
    );
    assert_eq!(Document::decode(bytes).err(), validate(bytes).err());
}

#[test]
fn scalars_have_one_form() {
    check(&Document::Null, &[0xc0]);
    check(&Document::Bool(true), &[0xc3]);
    check(&Document::String("é".into()), &[0xa2, 0xc3, 0xa9]);
    check(
        &Document::Float(Finite::new(-0.0).unwrap()),
        &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    check(
        &Document::Float(Finite::new(1.5).unwrap()),
        &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
    );
}

#[test]
fn integers_take_their_shortest_form() {
    for (value, bytes) in [
        (0, &[0x00][..]),
        (127, &[0x7f]),
        (128, &[0xcc, 0x80]),
        (255, &[0xcc, 0xff]),
        (256, &[0xcd, 1, 0]),
        (65_536, &[0xce, 0, 1, 0, 0]),
        (1 << 32, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        (-1, &[0xff]),
        (-32, &[0xe0]),
        (-33, &[0xd0, 0xdf]),
        (-128, &[0xd0, 0x80]),
        (-129, &[0xd1, 0xff, 0x7f]),
        (-32_769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
        (i64::MIN, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        check(&Document::integer(value), bytes);
        assert_eq!(encode_integer(value), bytes);
        assert_eq!(decode_integer(bytes), Some(value));
    }
    check(
        &Document::integer(u64::MAX),
        &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    assert_eq!(
        decode_integer(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255]),
        None
    );
}

#[test]
fn longer_forms_are_refused() {
    refuses(&[0xcc, 0x7f], "integer not in its shortest form");
    refuses(&[0xcd, 0, 0xff], "integer not in its shortest form");
    refuses(&[0xd0, 0xe0], "integer not in its shortest form");
    refuses(&[0xd0, 0x01], "integer not in its shortest form");
    refuses(&[0xd9, 1, b'a'], "length not in its shortest form");
    refuses(&[0xda, 0, 255], "length not in its shortest form");
    refuses(&[0xdc, 0, 1, 0xc0], "length not in its shortest form");
    refuses(&[0xde, 0, 0], "length not in its shortest form");
}

#[test]
fn values_that_json_lacks_are_refused() {
    refuses(&[0xc4, 0], "marker not allowed in a document");
    refuses(&[0xca, 0, 0, 0, 0], "marker not allowed in a document");
    refuses(&[0xd4, 0, 0], "marker not allowed in a document");
    refuses(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], "float not canonical");
    refuses(&[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0], "float not canonical");
    refuses(&[0x81, 0x01, 0x01], "field name is not a string");
    refuses(&[0xa1, 0xff], "string is not utf-8");
    refuses(&[0xc0, 0xc0], "bytes after the document");
    assert_eq!(Finite::new(f64::NAN), None);
}

#[test]
fn fields_are_sorted_and_unique() {
    let both = object(&[("b", Document::Null), ("a", Document::Bool(false))]);
    check(&both, &[0x82, 0xa1, b'a', 0xc2, 0xa1, b'b', 0xc0]);
    refuses(
        &[0x82, 0xa1, b'b', 0xc0, 0xa1, b'a', 0xc2],
        "field names not in order",
    );
    refuses(
        &[0x82, 0xa1, b'a', 0xc0, 0xa1, b'a', 0xc0],
        "field names not in order",
    );
}

#[test]
fn longer_strings_arrays_and_objects_read_back() {
    for count in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        let text = Document::String("x".repeat(count));
        assert_eq!(Document::decode(&text.encode().unwrap()), Ok(text));
        let array = Document::Array(vec![Document::Null; count]);
        assert_eq!(Document::decode(&array.encode().unwrap()), Ok(array));
    }
}

#[test]
fn depth_is_bounded_both_ways() {
    let nest =
        |levels: usize| (1..levels).fold(Document::Array(vec![]), |inner, _| Document::Array(vec![inner]));
    let deepest = nest(DOCUMENT_DEPTH_MAX);
    assert_eq!(Document::decode(&deepest.encode().unwrap()), Ok(deepest));
    assert_eq!(nest(DOCUMENT_DEPTH_MAX + 1).encode(), Err(DocumentError::TooDeep));
    let mut bytes = vec![0x91; DOCUMENT_DEPTH_MAX];
    bytes.push(0x90);
    assert_eq!(validate(&bytes), Err(DocumentError::TooDeep));
    assert_eq!(validate(&vec![0x91; 1 << 20]), Err(DocumentError::TooDeep));
}

/// A count that the input cannot hold is refused without reserving for it.
#[test]
fn lying_counts_are_refused() {
    refuses(&[0xdd, 0xff, 0xff, 0xff, 0xff], "document cut short");
    refuses(&[0xdf, 0xff, 0xff, 0xff, 0xff], "document cut short");
    refuses(&[0xdb, 0xff, 0xff, 0xff, 0xff], "document cut short");
}
