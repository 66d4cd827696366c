//! Hash keys of many partition keys: MD5 of short texts, several side by side.
//!
//! One MD5 is a chain of steps that each wait for the one before. Several that have nothing to do with each other fill a
//! processor's vector units instead: the loops over lanes below become vector instructions, of whatever width the build may
//! use. Source: RFC 1321.

use crate::HashKey;

/// Texts that are hashed side by side. With 16 and fewer the compiler unrolls the loops over lanes before it can make vectors
/// of them: three times slower.
const LANES: usize = 24;
/// So many cost less one by one.
const FEW: usize = 5;
/// Longest text that fills one block, with its end mark and its length.
const ONE_BLOCK: usize = 55;

/// One 32-bit word of each lane.
type Words = [u32; LANES];

/// Whether all these partition keys have a hash key of which `is_right` is true. Keys are hashed once each.
pub(super) fn all<'a>(keys: impl Iterator<Item = &'a str>, is_right: impl Fn(HashKey) -> bool) -> bool {
    let (mut waiting, mut count) = ([""; LANES], 0);
    for key in keys {
        if key.len() > ONE_BLOCK {
            if !is_right(HashKey::of_partition_key(key)) {
                return false;
            }
            continue;
        }
        waiting[count] = key;
        count += 1;
        if count == LANES {
            count = 0;
            if !side_by_side(&waiting).into_iter().all(&is_right) {
                return false;
            }
        }
    }
    match count {
        0..=FEW => waiting[..count].iter().all(|key| is_right(HashKey::of_partition_key(key))),
        _ => side_by_side(&waiting).into_iter().take(count).all(is_right),
    }
}

/// MD5 of texts of one block each.
fn side_by_side(texts: &[&str; LANES]) -> [HashKey; LANES] {
    let mut block = [[0; LANES]; 16];
    for (lane, text) in texts.iter().enumerate() {
        let mut bytes = [0; 64];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes[text.len()] = 0x80;
        bytes[56..].copy_from_slice(&(text.len() as u64 * 8).to_le_bytes());
        let (words, _) = bytes.as_chunks::<4>();
        for (of_block, word) in block.iter_mut().zip(words) {
            of_block[lane] = u32::from_le_bytes(*word);
        }
    }
    let state = compress(&block);
    std::array::from_fn(|lane| {
        let mut digest = [0; 16];
        for (bytes, words) in digest.as_chunks_mut::<4>().0.iter_mut().zip(&state) {
            *bytes = words[lane].to_le_bytes();
        }
        HashKey(u128::from_be_bytes(digest))
    })
}

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// One block from the start.
fn compress(block: &[Words; 16]) -> [Words; 4] {
    let mut state = START.map(|word| [word; LANES]);
    for (step, message) in block.iter().enumerate() {
        turn::<0>(&mut state, message, step, |x, y, z| (x & y) | (!x & z));
    }
    for step in 0..16 {
        turn::<1>(&mut state, &block[(5 * step + 1) % 16], step, |x, y, z| (x & z) | (y & !z));
    }
    for step in 0..16 {
        turn::<2>(&mut state, &block[(3 * step + 5) % 16], step, |x, y, z| x ^ y ^ z);
    }
    for step in 0..16 {
        turn::<3>(&mut state, &block[(7 * step) % 16], step, |x, y, z| y ^ (x | !z));
    }
    for (words, start) in state.iter_mut().zip(START) {
        words.iter_mut().for_each(|word| *word = word.wrapping_add(start));
    }
    state
}

/// Shifts of the four rounds; each repeats its own.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// One step of a round, in all lanes.
#[inline(always)]
fn turn<const ROUND: usize>(
    [a, b, c, d]: &mut [Words; 4],
    message: &Words,
    step: usize,
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let (sine, shift) = (SINES[ROUND][step], SHIFTS[ROUND][step % 4]);
    let mut next = [0; LANES];
    for lane in 0..LANES {
        let sum = a[lane].wrapping_add(mix(b[lane], c[lane], d[lane]));
        let sum = sum.wrapping_add(message[lane]).wrapping_add(sine);
        next[lane] = b[lane].wrapping_add(sum.rotate_left(shift));
    }
    (*a, *d, *c, *b) = (*d, *c, *b, next);
}

/// Of the numbers 1 to 64, in radians, times 2^32.
#[rustfmt::skip]
const SINES: [[u32; 16]; 4] = [
    [
        0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
        0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    ],
    [
        0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
        0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    ],
    [
        0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
        0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    ],
    [
        0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
        0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
    ],
];

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_hash_as_one_by_one(keys in prop::collection::vec("\\PC{0,60}", 0..60)) {
            let hashed = RefCell::new(Vec::new());
            let note = |key: HashKey| {
                hashed.borrow_mut().push(key);
                true
            };

            prop_assert!(all(keys.iter().map(String::as_str), note));

            let mut expected: Vec<_> = keys.iter().map(|key| HashKey::of_partition_key(key)).collect();
            let mut hashed = hashed.into_inner();
            expected.sort();
            hashed.sort();
            prop_assert_eq!(hashed, expected);
        }

        #[test]
        fn one_key_that_is_wrong_is_found(keys in prop::collection::vec("\\PC{0,60}", 1..60), wrong in any::<prop::sample::Index>()) {
            let wrong = HashKey::of_partition_key(wrong.get::<String>(&keys));

            prop_assert!(!all(keys.iter().map(String::as_str), |key| key != wrong));
        }
    }

    #[test]
    fn a_text_of_a_whole_block_and_one_beyond_are_hashed_right() {
        for length in [0, 54, 55, 56, 63, 64, 65] {
            let text = "x".repeat(length);
            let right = HashKey::of_partition_key(&text);

            assert!(all([text.as_str(); LANES].into_iter(), |key| key == right), "{length}");
        }
    }
}
