//! The lineage of shards as a tree. Pure.

use std::collections::HashMap;

use super::facts::ShardFacts;

/// Lines of the tree: roots are the shards without a known parent, and a merged shard stands below its first parent.
pub(super) fn lines(shards: &[ShardFacts]) -> Vec<String> {
    let known: HashMap<&str, &ShardFacts> = shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
    let mut children: HashMap<&str, Vec<&ShardFacts>> = HashMap::new();
    let mut roots = Vec::new();
    for shard in shards {
        match shard.parents.iter().find(|parent| known.contains_key(parent.as_str())) {
            Some(parent) => children.entry(parent.as_str()).or_default().push(shard),
            None => roots.push(shard),
        }
    }
    let mut lines = Vec::new();
    // Depth first, without recursion: lineages can be long.
    let mut stack: Vec<(&ShardFacts, String, String)> =
        roots.into_iter().rev().map(|root| (root, String::new(), String::new())).collect();
    while let Some((shard, lead, below)) = stack.pop() {
        lines.push(format!("{lead}{}", line(shard)));
        let descendants = children.remove(shard.id.as_str()).unwrap_or_default();
        let last = descendants.len().saturating_sub(1);
        for (place, child) in descendants.into_iter().enumerate().rev() {
            let (branch, bar) = if place == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            stack.push((child, format!("{below}{branch}"), format!("{below}{bar}")));
        }
    }
    lines
}

fn line(shard: &ShardFacts) -> String {
    let state = if shard.is_open { "open" } else { "closed" };
    let merged = match shard.parents.as_slice() {
        [_, other] => format!(", merged with {other}"),
        _ => String::new(),
    };
    format!("{} {} {state}{merged}", shard.id, share(shard))
}

/// The part of the hash key space in percent, for example `50.0..100.0 %`.
pub(super) fn share(shard: &ShardFacts) -> String {
    let Some(range) = shard.range() else { return "?".to_owned() };
    let percent = |key: u128| key as f64 / u128::MAX as f64 * 100.0;
    format!("{:.1}..{:.1} %", percent(range.start.0), percent(range.end.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32, range: (u128, u128), parents: &[u32], is_open: bool) -> ShardFacts {
        let id = |number: &u32| format!("s{number}");
        ShardFacts {
            id: id(&number),
            starting_hash_key: range.0.to_string(),
            ending_hash_key: range.1.to_string(),
            parents: parents.iter().map(id).collect(),
            is_open,
            starting_sequence_number: None,
            ending_sequence_number: None,
        }
    }

    #[test]
    fn draws_splits_and_merges() {
        let (half, all) = (u128::MAX / 2, u128::MAX);
        let shards = [
            shard(0, (0, half), &[], false),
            shard(1, (half + 1, all), &[99], false),
            shard(2, (0, half / 2), &[0], true),
            shard(3, (half / 2 + 1, half), &[0], false),
            shard(4, (half / 2 + 1, all), &[3, 1], true),
        ];

        let expected = [
            "s0 0.0..50.0 % closed",
            "├─ s2 0.0..25.0 % open",
            "└─ s3 25.0..50.0 % closed",
            "   └─ s4 25.0..100.0 % open, merged with s1",
            "s1 50.0..100.0 % closed",
        ];
        assert_eq!(lines(&shards), expected);
    }
}
