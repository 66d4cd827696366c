//! Plans of changes to shards: what would be done, or why it cannot. Pure.

use std::str::FromStr;

use kpl::{HashKey, HashKeyRange};

use super::facts::ShardFacts;
use crate::failure::Failure;

/// Point at which a shard is split.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SplitPoint {
    HashKey(HashKey),
    /// Part of the shard that the lower child gets.
    Percent(f64),
    /// The hash of a partition key.
    Key(String),
}

/// A text that is no such point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a hash key, a part such as 25%, or key:PARTITION_KEY")]
pub(super) struct ParseSplitPointError;

impl FromStr for SplitPoint {
    type Err = ParseSplitPointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(key) = text.strip_prefix("key:").filter(|key| !key.is_empty()) {
            return Ok(Self::Key(key.to_owned()));
        }
        if let Some(part) = text.strip_suffix('%') {
            let part = part.parse().ok().filter(|part| (0.0..100.0).contains(part));
            return part.map(Self::Percent).ok_or(ParseSplitPointError);
        }
        text.parse().map(Self::HashKey).map_err(|_| ParseSplitPointError)
    }
}

/// A split that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitPlan {
    shard: String,
    range: HashKeyRange,
    /// First hash key of the upper child.
    pub(super) at: HashKey,
}

impl SplitPlan {
    pub(super) fn text(&self) -> String {
        let lower = HashKeyRange { start: self.range.start, end: HashKey(self.at.0 - 1) };
        let upper = HashKeyRange { start: self.at, end: self.range.end };
        format!("split {}\n  {}\n  into {lower}\n  and  {upper}\n", self.shard, self.range)
    }
}

/// The split of a shard.
pub(super) fn split(shards: &[ShardFacts], shard: &str, at: &SplitPoint) -> Result<SplitPlan, Failure> {
    let range = range(open(shards, shard)?)?;
    let width = range.end.0 - range.start.0;
    let at = match at {
        SplitPoint::HashKey(key) => *key,
        SplitPoint::Key(key) => HashKey::of_partition_key(key),
        // Rounded up, so that the halves of the hash key space are those that Kinesis makes.
        SplitPoint::Percent(percent) if *percent == 50.0 => HashKey(range.start.0 + width.div_ceil(2)),
        SplitPoint::Percent(percent) => HashKey(range.start.0 + (width as f64 * percent / 100.0) as u128),
    };
    if at <= range.start || at > range.end {
        let what = format!("{shard} cannot be split at {at}");
        return Err(Failure::new(
            what,
            format!("the upper child must begin within {range}, behind its first hash key"),
        ));
    }
    Ok(SplitPlan { shard: shard.to_owned(), range, at })
}

/// The two shards in the order of their hash keys.
pub(super) fn merge(shards: &[ShardFacts], shard: &str, other: &str) -> Result<(String, String), Failure> {
    let (first, second) = (range(open(shards, shard)?)?, range(open(shards, other)?)?);
    let follows = |a: HashKeyRange, b: HashKeyRange| a.end.0.checked_add(1) == Some(b.start.0);
    if follows(first, second) {
        return Ok((shard.to_owned(), other.to_owned()));
    }
    if follows(second, first) {
        return Ok((other.to_owned(), shard.to_owned()));
    }
    let neighbours: Vec<&str> = shards
        .iter()
        .filter(|it| it.is_open)
        .filter(|it| it.range().is_some_and(|range| follows(range, first) || follows(first, range)))
        .map(|it| it.id.as_str())
        .collect();
    let what = format!("{shard} and {other} are not adjacent");
    Err(Failure::new(what, format!("{shard} can be merged with {}", neighbours.join(" or "))))
}

/// The plan of a change of the number of shards, within the bounds of the service.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>
pub(super) fn scale(stream: &str, open: usize, to: usize) -> Result<String, Failure> {
    let (min, max) = (open.div_ceil(2), open * 2);
    if to == open {
        return Err(Failure::new(format!("stream {stream} has {open} open shards already"), "nothing is to be done"));
    }
    if !(min..=max).contains(&to) {
        let step = if to > max { max } else { min };
        let what = format!("stream {stream} of {open} open shards cannot be scaled to {to} at once");
        return Err(Failure::new(what, format!("{min} to {max} are possible now: pass --to {step} first")));
    }
    let halves = if to.is_multiple_of(open) || open.is_multiple_of(to) {
        ""
    } else {
        "; many shards are split and merged for it, twice or half as many take fewer"
    };
    Ok(format!("scale stream {stream} from {open} to {to} open shards of equal size{halves}\n"))
}

fn open<'a>(shards: &'a [ShardFacts], id: &str) -> Result<&'a ShardFacts, Failure> {
    match shards.iter().find(|shard| shard.id == id) {
        None => Err(Failure::new(format!("the stream has no {id}"), "its shards are listed by kds stream")),
        Some(shard) if !shard.is_open => {
            Err(Failure::new(format!("{id} is closed"), "choose one of the open shards that kds stream lists"))
        }
        Some(shard) => Ok(shard),
    }
}

fn range(shard: &ShardFacts) -> Result<HashKeyRange, Failure> {
    shard.range().ok_or_else(|| Failure::new(format!("the hash keys of {} cannot be read", shard.id), "try again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, start: u128, end: u128, is_open: bool) -> ShardFacts {
        ShardFacts {
            id: id.to_owned(),
            starting_hash_key: start.to_string(),
            ending_hash_key: end.to_string(),
            parents: Vec::new(),
            is_open,
            starting_sequence_number: None,
            ending_sequence_number: None,
        }
    }

    fn shards() -> Vec<ShardFacts> {
        vec![
            shard("a", 0, 99, true),
            shard("b", 100, 199, true),
            shard("c", 200, 299, true),
            shard("old", 0, 199, false),
        ]
    }

    fn at(point: &str) -> Result<u128, String> {
        split(&shards(), "b", &point.parse().unwrap()).map(|plan| plan.at.0).map_err(|failure| failure.to_string())
    }

    #[test]
    fn splits_at_hash_keys_and_parts_within_the_shard() {
        assert_eq!([at("50%"), at("25%"), at("101"), at("199")], [Ok(150), Ok(124), Ok(101), Ok(199)]);
        for point in ["100", "200", "0%", "key:alpha"] {
            assert!(at(point).unwrap_err().contains("within 100..=199"), "{point}");
        }
        let whole = [shard("all", 0, u128::MAX, true)];
        assert_eq!(split(&whole, "all", &SplitPoint::Percent(50.0)).unwrap().at.0, 1 << 127);
    }

    #[test]
    fn refuses_closed_and_unknown_shards_and_odd_points() {
        for id in ["old", "none"] {
            assert!(split(&shards(), id, &SplitPoint::Percent(50.0)).unwrap_err().to_string().contains(id));
        }
        for point in ["", "key:", "100%", "-1", "half"] {
            assert_eq!(point.parse::<SplitPoint>(), Err(ParseSplitPointError), "{point}");
        }
    }

    #[test]
    fn merges_neighbours_in_the_order_of_their_keys() {
        let order = |a: &str, b: &str| merge(&shards(), a, b).map_err(|failure| failure.to_string());

        assert_eq!(order("b", "a"), Ok(("a".into(), "b".into())));
        assert_eq!(order("a", "c"), Err("a and c are not adjacent: a can be merged with b".into()));
    }

    #[test]
    fn scales_to_twice_or_half_at_once() {
        assert!([2, 3, 5, 8].into_iter().all(|to| scale("s", 4, to).is_ok()));
        assert!(scale("s", 4, 9).unwrap_err().to_string().contains("--to 8"));
        assert!(scale("s", 5, 2).unwrap_err().to_string().contains("3 to 10 are possible"));
        assert!(scale("s", 4, 4).is_err());
    }
}
