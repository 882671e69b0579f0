//! Frames: committed bytes, bytes in pieces, bytes of strangers.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::{assert_golden, golden};

const LIMIT: usize = 1 << 20;
const GOLDEN: &str = include_str!("../../testdata/frame-v1.hex");

fn encode(kind: FrameKind, lane: Lane, correlation: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    FrameHeader::new(kind, lane, correlation, payload)
        .unwrap()
        .encode(&mut out);
    out.extend_from_slice(payload);
    out
}

/// Hands `bytes` to a decoder in pieces, as a socket would, and collects frames.
fn decode_pieces(decoder: &mut FrameDecoder, bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    loop {
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
        if rest.is_empty() {
            return Ok(frames);
        }
        let most = piece.min(rest.len());
        let taken = match decoder.room() {
            Room::Any(buffer) => {
                buffer.extend_from_slice(&rest[..most]);
                most
            }
            Room::Upto(buffer, missing) => {
                // As a socket is read: no more than the room that was made.
                let most = most.min(missing).min(buffer.capacity() - buffer.len());
                buffer.extend_from_slice(&rest[..most]);
                most
            }
        };
        rest = &rest[taken..];
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    decode_pieces(&mut FrameDecoder::new(Lane::Append, LIMIT), bytes, usize::MAX)
}

/// A header with a right checksum around fields that may be wrong.
fn raw_header(length: u32, kind: u8, lane: u8, reserved: u16) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(length);
    out.put_u8(kind);
    out.put_u8(lane);
    out.put_u16(reserved);
    out.put_u64(9);
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    out.put_u32(0);
    out
}

#[test]
fn frames_of_version_1_have_these_bytes() {
    let cases = [
        (
            "request",
            FrameKind::Request,
            Lane::Append,
            1,
            b"hello".as_slice(),
        ),
        (
            "response",
            FrameKind::Response,
            Lane::Control,
            0x0102_0304_0506_0708,
            b"".as_slice(),
        ),
        (
            "message",
            FrameKind::Message,
            Lane::Snapshot,
            0,
            b"\0\xff".as_slice(),
        ),
        ("end", FrameKind::End, Lane::Forward, 0, b"".as_slice()),
        ("alive", FrameKind::Alive, Lane::Control, 0, b"".as_slice()),
        ("failed", FrameKind::Failed, Lane::Append, 7, b"".as_slice()),
    ];
    for (name, kind, lane, correlation, payload) in cases {
        assert_golden(GOLDEN, name, &encode(kind, lane, correlation, payload));
        let mut decoder = FrameDecoder::new(lane, LIMIT);
        let frames = decode_pieces(&mut decoder, &golden(GOLDEN, name), usize::MAX).unwrap();
        assert_eq!(
            frames,
            [Frame {
                kind,
                lane,
                correlation,
                payload: Bytes::copy_from_slice(payload)
            }]
        );
    }
}

#[test]
fn announced_length_over_the_limit_is_refused_before_room_is_made() {
    let mut decoder = FrameDecoder::new(Lane::Append, LIMIT);
    let too_large = FrameError::TooLarge {
        size_bytes: 0xffff_fff0,
        limit_bytes: LIMIT,
    };
    let bytes = raw_header(0xffff_fff0, 1, 2, 0);
    assert_eq!(decode_pieces(&mut decoder, &bytes, usize::MAX), Err(too_large));
    assert!(decoder.partial.is_none() && decoder.buffer.capacity() <= 2 * READ_BYTES);
    assert!(decode(&raw_header(u32::try_from(LIMIT).unwrap(), 1, 2, 0)).is_ok());
    assert!(decode(&raw_header(u32::try_from(LIMIT).unwrap() + 1, 1, 2, 0)).is_err());
}

#[test]
fn memory_follows_bytes_that_arrived_not_the_announced_length() {
    let mut decoder = FrameDecoder::new(Lane::Append, 64 << 20);
    decode_pieces(&mut decoder, &raw_header(64 << 20, 1, 2, 0), usize::MAX).unwrap();
    decode_pieces(&mut decoder, &[7; 1000], usize::MAX).unwrap();
    assert!(decoder.partial.as_ref().unwrap().1.capacity() <= PAYLOAD_STEP_BYTES);
    decode_pieces(&mut decoder, &vec![7; 3 << 20], 64 << 10).unwrap();
    let payload = &decoder.partial.as_ref().unwrap().1;
    assert!(
        payload.capacity() <= 8 << 20,
        "{} for {}",
        payload.capacity(),
        payload.len()
    );
}

#[test]
fn each_fault_of_a_header_is_named() {
    let mut damaged = raw_header(0, 1, 2, 0);
    damaged[9] ^= 1;
    assert_eq!(decode(&damaged), Err(FrameError::HeaderDamaged));
    assert_eq!(decode(&raw_header(0, 0, 2, 0)), Err(FrameError::UnknownKind(0)));
    assert_eq!(decode(&raw_header(0, 7, 2, 0)), Err(FrameError::UnknownKind(7)));
    assert_eq!(decode(&raw_header(0, 1, 1, 0)), Err(FrameError::ForeignLane(1)));
    assert_eq!(decode(&raw_header(0, 1, 9, 0)), Err(FrameError::ForeignLane(9)));
    assert_eq!(decode(&raw_header(0, 1, 2, 1)), Err(FrameError::ReservedBytes));
    for bare in [4, 5, 6] {
        assert_eq!(
            decode(&raw_header(3, bare, 2, 0)),
            Err(FrameError::UnexpectedPayload(bare))
        );
    }
}

#[test]
fn kept_payload_does_not_keep_its_neighbours() {
    let mut bytes = encode(FrameKind::Message, Lane::Append, 0, b"small");
    bytes.extend(encode(FrameKind::Message, Lane::Append, 0, &[1; 50_000]));
    let small = decode(&bytes).unwrap().remove(0).payload;
    assert!(small.try_into_mut().unwrap().capacity() < 100);
}

fn arb_frame() -> impl Strategy<Value = (FrameKind, u64, Vec<u8>)> {
    prop_oneof![
        (any::<u64>(), vec(any::<u8>(), 0..300)).prop_map(|(id, bytes)| (FrameKind::Request, id, bytes)),
        (any::<u64>(), 0_usize..200_000).prop_map(|(id, n)| (FrameKind::Response, id, vec![3; n])),
        Just((FrameKind::Alive, 0, Vec::new())),
        Just((FrameKind::End, 0, Vec::new())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every sequence of frames comes out as it went in, however the bytes are cut.
    #[test]
    fn frames_survive_any_cutting(frames in vec(arb_frame(), 0..12), piece in 1_usize..5_000) {
        let mut bytes = Vec::new();
        for (kind, correlation, payload) in &frames {
            bytes.extend(encode(*kind, Lane::Append, *correlation, payload));
        }
        let mut decoder = FrameDecoder::new(Lane::Append, LIMIT);
        let decoded = decode_pieces(&mut decoder, &bytes, piece).unwrap();
        prop_assert!(!decoder.is_within_frame());
        let decoded: Vec<_> = decoded.into_iter().map(|frame| (frame.kind, frame.correlation, frame.payload.to_vec())).collect();
        prop_assert_eq!(decoded, frames);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A changed bit anywhere is found: nothing wrong is ever handed out as a frame.
    #[test]
    fn changed_bit_is_found(payload in vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = encode(FrameKind::Request, Lane::Append, 5, &payload);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes).is_err());
    }

    /// Random bytes never panic, nor do damaged frames with checksums made to fit.
    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), piece in 1_usize..50, fit in any::<bool>()) {
        if fit && bytes.len() >= HEADER_BYTES {
            bytes[0] = 0;
            bytes[1] = 0;
            bytes[2] = 0;
            bytes[4] %= 8;
            bytes[5] = 2;
            bytes[6] = 0;
            bytes[7] = 0;
            let crc = crc32c::crc32c(&bytes[..CHECKED_BYTES]);
            bytes[CHECKED_BYTES..CHECKED_BYTES + 4].copy_from_slice(&crc.to_be_bytes());
        }
        let mut decoder = FrameDecoder::new(Lane::Append, LIMIT);
        let _ = decode_pieces(&mut decoder, &bytes, piece);
    }
}
