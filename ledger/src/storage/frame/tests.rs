use proptest::prelude::*;

use super::*;

const ID: GroupId = GroupId {
    store: *b"0123456789abcdef",
    segment: 3,
    number: 7,
};

fn one_of_each() -> Vec<Frame<'static>> {
    vec![
        Frame::Segment {
            chain: [9; 32],
            size: 8192,
        },
        Frame::Log {
            log: 0,
            name: "actpass/c/n/u",
        },
        Frame::Blob {
            log: 0,
            kind: BlobKind::SideFrame { seq: 4 },
            name: &[1; 32],
            bytes: b"ciphertext",
        },
        Frame::Blob {
            log: 0,
            kind: BlobKind::Bundle,
            name: &[2; 32],
            bytes: b"",
        },
        Frame::Leaf {
            log: 0,
            seq: 4,
            bytes: b"{}",
        },
    ]
}

fn build(frames: &[Frame<'_>]) -> (Vec<u8>, [u8; 32]) {
    let mut builder = GroupBuilder::with_capacity(0);
    for frame in frames {
        builder.push(frame);
    }
    builder.finish(&ID, &[5; 32])
}

#[test]
fn a_group_reads_back_as_written() {
    let frames = one_of_each();
    let (bytes, chain) = build(&frames);
    let header = decode_header(&bytes).unwrap();
    assert_eq!(header.id, ID);
    assert_eq!(header.bytes, bytes.len());
    assert_eq!(header.frames as usize, frames.len());
    assert_eq!(
        bytes.len(),
        group_bytes(frames.iter().map(Frame::encoded_bytes).sum())
    );
    let body = &bytes[..bytes.len() - ALIGN];
    let trailer = decode_trailer(&bytes[body.len()..]).unwrap();
    assert_eq!(trailer.number, ID.number);
    assert_eq!(trailer.chain, chain);
    assert_eq!(trailer.chain, chain_after(&[5; 32], body, trailer.body_crc));
    assert_eq!(trailer.body_crc, crc32c::crc32c(body));
    let mut rest = &body[ALIGN..];
    for want in &frames {
        let (frame, after) = decode_frame(rest).unwrap();
        assert_eq!(&frame, want);
        rest = after;
    }
    assert!(rest.iter().all(|byte| *byte == 0));
}

#[test]
fn every_flipped_bit_of_a_header_trailer_or_frame_is_seen() {
    let (bytes, _) = build(&one_of_each());
    let body = bytes.len() - ALIGN;
    for at in 0..ALIGN {
        for bit in 0..8 {
            let mut header = bytes[..ALIGN].to_vec();
            header[at] ^= 1 << bit;
            assert_eq!(decode_header(&header), None, "header byte {at} bit {bit}");
            let mut trailer = bytes[body..].to_vec();
            trailer[at] ^= 1 << bit;
            assert_eq!(
                decode_trailer(&trailer),
                None,
                "trailer byte {at} bit {bit}"
            );
        }
    }
    let mut at = ALIGN;
    for frame in one_of_each() {
        for offset in at..at + frame.encoded_bytes() {
            let mut copy = bytes.clone();
            copy[offset] ^= 0x20;
            assert_eq!(decode_frame(&copy[at..body]), None, "frame byte {offset}");
        }
        at += frame.encoded_bytes();
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode_header(&bytes), decode_trailer(&bytes), decode_frame(&bytes), claimed_leaf(&bytes));
    }

    #[test]
    fn any_leaf_reads_back(log in any::<u32>(), seq in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let frame = Frame::Leaf { log, seq, bytes: &bytes };
        let (group, _) = build(&[frame]);
        prop_assert_eq!(group.len() % ALIGN, 0);
        prop_assert_eq!(decode_frame(&group[ALIGN..]).unwrap().0, frame);
    }
}
