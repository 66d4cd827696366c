//! Division of what was read into pieces that are opened and processed one after the other. Pure.
//!
//! (A) Pieces are in order, and hold everything once. (B) The frames of a piece unfold to no more than a bound, or there is but
//! one. (C) What holds no frame is one piece.

use kpl::compressed::{FrameReader, MAGIC};

use crate::model::KinesisRecord;

/// Maximum bytes that the frames of a piece unfold to, unless one alone is longer.
const MAX_UNFOLDED: usize = 8 << 20;

/// Kinesis records, with the bytes that their frames unfold to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) records: Vec<KinesisRecord>,
    pub(crate) unfolded: usize,
}

/// All of `source`, at least one piece.
pub(crate) fn pieces(source: Vec<KinesisRecord>, frames: &FrameReader) -> Vec<Piece> {
    if !source.iter().any(is_frame) {
        return vec![Piece { records: source, unfolded: 0 }];
    }
    let (mut pieces, mut piece) = (Vec::new(), Piece::default());
    for record in source {
        let unfolded = if is_frame(&record) { frames.unfolded_len(&record.data) } else { 0 };
        if unfolded > 0 && piece.unfolded > 0 && piece.unfolded + unfolded > MAX_UNFOLDED {
            pieces.push(std::mem::take(&mut piece));
        }
        piece.unfolded += unfolded;
        piece.records.push(record);
    }
    pieces.push(piece);
    pieces
}

fn is_frame(record: &KinesisRecord) -> bool {
    record.data.starts_with(&MAGIC)
}

#[cfg(test)]
mod tests {
    use kpl::compressed::{Compression, FrameWriter};

    use super::*;

    fn record(number: usize, data: impl Into<bytes::Bytes>) -> KinesisRecord {
        KinesisRecord {
            sequence_number: number.to_string().parse().unwrap(),
            partition_key: "a".into(),
            data: data.into(),
            approximate_arrival: None,
        }
    }

    /// A frame of as many zeros.
    fn frame(len: usize) -> bytes::Bytes {
        FrameWriter::new(Compression::Lz4, None).frame(&vec![0; len]).expect("shorter")
    }

    fn shape(source: &[KinesisRecord]) -> Vec<(usize, usize)> {
        let pieces = pieces(source.to_vec(), &FrameReader::new());
        let together: Vec<_> = pieces.iter().flat_map(|piece| piece.records.clone()).collect();
        assert_eq!(together, source);
        pieces.iter().map(|piece| (piece.records.len(), piece.unfolded)).collect()
    }

    #[test]
    fn without_frames_all_is_one_piece() {
        let large = vec![0; MAX_UNFOLDED];

        assert_eq!(shape(&[]), [(0, 0)]);
        assert_eq!(shape(&[record(1, large.clone()), record(2, large), record(3, "text")]), [(3, 0)]);
    }

    #[test]
    fn frames_of_a_piece_unfold_to_no_more_than_the_bound_or_are_one() {
        let (third, all, more) = (frame(MAX_UNFOLDED / 3), frame(MAX_UNFOLDED), frame(MAX_UNFOLDED + 1));
        let source = [&third, &third, &third, &third, &"text".into(), &all, &more, &more, &"text".into()];
        let source: Vec<_> = source.into_iter().enumerate().map(|(n, data)| record(n, data.clone())).collect();

        let third = MAX_UNFOLDED / 3;
        let expected = [(3, 3 * third), (2, third), (1, MAX_UNFOLDED), (1, MAX_UNFOLDED + 1), (2, MAX_UNFOLDED + 1)];
        assert_eq!(shape(&source), expected);
    }

    #[test]
    fn a_frame_that_will_not_be_opened_counts_by_its_own_length() {
        let (bomb, reader) = (frame(10 << 20), FrameReader::new().with_max_bytes(1 << 20));

        let pieces = pieces(vec![record(1, bomb.clone()), record(2, frame(1 << 20))], &reader);

        assert_eq!((pieces.len(), pieces[0].unfolded), (1, bomb.len() + (1 << 20)));
    }
}
