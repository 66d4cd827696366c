//! Frames of all codecs: whole, damaged, and of others.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const ALL: [Compression; 4] = [Compression::Gzip, Compression::Lz4, Compression::Zstd(-7), Compression::Zstd(3)];

fn built() -> impl Iterator<Item = Compression> {
    ALL.into_iter().filter(|compression| compression.is_available())
}

fn text() -> Vec<u8> {
    (0..500).flat_map(|n| format!("{{\"ticker\":\"AMZN\",\"price\":{n}}}\n").into_bytes()).collect()
}

fn frame_of(compression: Compression) -> Bytes {
    FrameWriter::new(compression, None).frame(&text()).expect("text becomes shorter")
}

fn open(data: impl Into<Bytes>) -> Option<Result<Bytes, FrameError>> {
    FrameReader::new().open(&data.into())
}

/// The frame with other bytes at some place, and a checksum that is right again.
fn changed(frame: &Bytes, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = frame.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&changed[..HEADER_LEN - 4]);
    checksum.update(&changed[HEADER_LEN..]);
    changed[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&checksum.finalize().to_be_bytes());
    changed
}

#[test]
fn a_frame_is_as_documented_to_the_byte() {
    let frame = frame_of(Compression::Gzip);

    let payload = &frame[HEADER_LEN..];
    assert_eq!(frame[..12], [0xFA, b'C', b'R', b'F', 1, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(frame[12..16], u32::try_from(text().len()).expect("short").to_be_bytes());
    assert_eq!(frame[16..20], u32::try_from(payload.len()).expect("short").to_be_bytes());
    assert_eq!(payload[..2], [0x1F, 0x8B], "a file of gzip");
    assert_eq!(changed(&frame, 0, &[]), frame);
}

#[test]
fn says_what_it_holds_before_it_is_unfolded() {
    for (compression, name) in built().zip(["gzip", "lz4", "zstd", "zstd"]) {
        let frame = frame_of(compression);
        let header = Frame::of(&frame).expect("a frame").expect("sound");

        assert_eq!((header.codec(), header.dictionary_id(), header.content_len()), (name, None, text().len()));
        assert_eq!(FrameReader::new().unfolded_len(&frame), text().len());
        assert_eq!(FrameReader::new().with_max_bytes(9).unfolded_len(&frame), frame.len());
    }
    assert_eq!(FrameReader::new().unfolded_len(b"plain"), 5);
}

#[test]
fn a_frame_cut_off_or_followed_by_more_is_an_error() {
    for compression in built() {
        let frame = frame_of(compression);
        for len in MAGIC.len()..frame.len() {
            assert_eq!(open(frame.slice(..len)), Some(Err(FrameError::Length { size_bytes: len })));
        }
        let longer = [&frame[..], b"\n"].concat();
        assert_eq!(open(longer), Some(Err(FrameError::Length { size_bytes: frame.len() + 1 })));
        assert_eq!(open(frame.slice(..MAGIC.len() - 1)), None);
    }
}

#[test]
fn a_flipped_bit_anywhere_behind_the_magic_is_an_error() {
    for compression in built() {
        let frame = frame_of(compression);
        for at in MAGIC.len()..frame.len() {
            let mut bytes = frame.to_vec();
            bytes[at] ^= 0x10;
            assert!(matches!(open(bytes), Some(Err(_))), "byte {at}");
        }
    }
}

#[test]
fn frames_of_later_versions_are_told_from_damaged_ones() {
    let frame = frame_of(Compression::Lz4);

    assert_eq!(open(changed(&frame, 4, &[2])), Some(Err(FrameError::UnknownVersion { version: 2 })));
    assert_eq!(open(changed(&frame, 7, &[1])), Some(Err(FrameError::UnknownVersion { version: 1 })));
    assert_eq!(open(changed(&frame, 5, &[77])), Some(Err(FrameError::UnknownCodec { codec: 77 })));
    assert_eq!(open(changed(&frame, 5, &[0])), Some(Err(FrameError::UnknownCodec { codec: 0 })));
    let id = 9_u32.to_be_bytes();
    assert_eq!(open(changed(&frame, 8, &id)), Some(Err(FrameError::UnknownDictionary { id: 9 })));
}

#[test]
fn a_payload_of_another_length_or_codec_is_an_error() {
    for compression in built() {
        let frame = frame_of(compression);
        for content_bytes in [text().len() - 1, text().len() + 1, 0] {
            let stated = u32::try_from(content_bytes).expect("short").to_be_bytes();
            assert_eq!(open(changed(&frame, 12, &stated)), Some(Err(FrameError::Payload { content_bytes })));
        }
        let others = (1..=3).filter(|codec| *codec != frame[5]);
        for codec in others {
            let error = open(changed(&frame, 5, &[codec])).expect("a frame").expect_err("of another codec");
            assert!(matches!(error, FrameError::Payload { .. } | FrameError::NotBuilt), "{error}");
        }
    }
}

#[test]
fn a_bomb_is_refused_by_its_header_or_at_the_length_that_this_says() {
    let zeros = vec![0; MAX_CONTENT_BYTES];
    for compression in built() {
        let bomb = FrameWriter::new(compression, None).frame(&zeros).expect("far shorter");
        assert_eq!(open(bomb.clone()), Some(Ok(zeros.clone().into())), "at the limit");

        let small = FrameReader::new().with_max_bytes(MAX_CONTENT_BYTES - 1);
        let (content_bytes, max_bytes) = (MAX_CONTENT_BYTES, MAX_CONTENT_BYTES - 1);
        assert_eq!(small.open(&bomb), Some(Err(FrameError::TooLong { content_bytes, max_bytes })));
        let lie = changed(&bomb, 12, &1000_u32.to_be_bytes());
        assert_eq!(open(lie), Some(Err(FrameError::Payload { content_bytes: 1000 })));
    }
}

#[test]
fn what_does_not_shrink_is_not_framed() {
    let noise: Vec<u8> = (0..5000).map(|_| fastrand::u8(..)).collect();
    for compression in built() {
        let writer = FrameWriter::new(compression, None);
        for content in [&noise[..], b"", b"aaaaaaaaaaaaaaaaaaaaaaaa", &vec![0; MAX_CONTENT_BYTES + 1]] {
            assert_eq!(writer.frame(content), None, "{compression:?}, {} B", content.len());
        }
        assert!(writer.frame(&text()).is_some(), "as before");
    }
}

#[test]
fn levels_out_of_bounds_are_not_available() {
    for level in [-8, 20] {
        assert!(!Compression::Zstd(level).is_available());
        assert_eq!(FrameWriter::new(Compression::Zstd(level), None).frame(&text()), None);
    }
}

#[test]
fn bytes_that_are_no_dictionary_are_refused() {
    for bytes in [&b""[..], b"\x37\xA4\x30\xEC", b"\x37\xA4\x30\xEC\0\0\0\0rest", b"some text, longer than that"] {
        assert_eq!(Dictionary::new(bytes), Err(DictionaryError::Invalid { size_bytes: bytes.len() }));
    }
}

proptest! {
    #[test]
    fn every_content_comes_back(content in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20), times in 1_usize..40) {
        let content = content.concat().repeat(times);
        for compression in built() {
            let Some(frame) = FrameWriter::new(compression, None).frame(&content) else { continue };
            prop_assert!(frame.len() < content.len());
            prop_assert_eq!(open(frame), Some(Ok(Bytes::from(content.clone()))));
        }
    }

    #[test]
    fn bytes_behind_the_magic_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), codec in 0_u8..5) {
        bytes.splice(..0, MAGIC);
        prop_assert!(open(bytes.clone()).is_some_and(|opened| opened.is_err()));
        if bytes.len() > HEADER_LEN {
            let payload_len = u32::try_from(bytes.len() - HEADER_LEN).expect("short").to_be_bytes();
            let frame = changed(&bytes.into(), 4, &[1, codec, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
            let _ = open(changed(&frame.into(), 16, &payload_len));
        }
    }
}

#[cfg(feature = "zstd")]
mod with_zstd {
    use super::*;

    fn dictionary(word: &str) -> Dictionary {
        let samples: Vec<Vec<u8>> = (0..1000)
            .map(|n| format!("{{\"{word}\":{},\"exchange\":\"NYSE\",\"n\":{n}}}", n * 7).into_bytes())
            .collect();
        Dictionary::train(&samples.iter().map(Vec::as_slice).collect::<Vec<_>>(), 4096).expect("enough samples")
    }

    const SMALL: &[u8] = b"{\"price\":123,\"exchange\":\"NYSE\",\"n\":1001}";

    #[test]
    fn a_dictionary_makes_small_contents_shorter() {
        let dictionary = dictionary("price");
        let plain = FrameWriter::new(Compression::Zstd(3), None).frame(&SMALL.repeat(4)).expect("shorter");
        let frame = FrameWriter::new(Compression::Zstd(3), Some(dictionary.clone())).frame(&SMALL.repeat(4));

        let frame = frame.expect("shorter");
        assert!(frame.len() < plain.len(), "{} {}", frame.len(), plain.len());
        let header = Frame::of(&frame).expect("a frame").expect("sound");
        assert_eq!(header.dictionary_id(), Some(dictionary.id()));
        let reader = FrameReader::new().with_dictionary(self::dictionary("volume")).with_dictionary(dictionary);
        assert_eq!(reader.open(&frame), Some(Ok(SMALL.repeat(4).into())));
    }

    #[test]
    fn a_frame_without_its_dictionary_is_an_error() {
        let (ours, other) = (dictionary("price"), dictionary("volume"));
        let frame = FrameWriter::new(Compression::Zstd(3), Some(ours.clone())).frame(&SMALL.repeat(4));
        let frame = frame.expect("shorter");

        let unknown = FrameError::UnknownDictionary { id: ours.id() };
        assert_eq!(open(frame.clone()), Some(Err(unknown.clone())));
        assert_eq!(FrameReader::new().with_dictionary(other).open(&frame), Some(Err(unknown)));
    }

    #[test]
    fn a_dictionary_is_read_again_from_its_bytes() {
        let trained = dictionary("price");

        assert_eq!(Dictionary::new(trained.bytes()), Ok(trained));
    }

    #[test]
    fn few_samples_make_no_dictionary() {
        assert_eq!(Dictionary::train(&[b"one", b"two"], 4096), Err(DictionaryError::Samples { samples: 2 }));
    }

    #[test]
    fn other_codecs_use_no_dictionary() {
        let frame = FrameWriter::new(Compression::Lz4, Some(dictionary("price"))).frame(&text()).expect("shorter");
        assert_eq!(open(frame), Some(Ok(text().into())));
    }
}
