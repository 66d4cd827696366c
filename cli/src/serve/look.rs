//! SHELL: a look at a fleet and the shards of its stream, as JSON; and the looks of late.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};

use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    fleet::{lag, read},
    reading::shards,
    text,
};

/// Looks that a page which is opened gets to see.
const KEPT: usize = 300;

/// The looks of late, each with its number.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks {
    next: u64,
    looks: VecDeque<(u64, Arc<str>)>,
}

impl Looks {
    pub(super) fn add(&mut self, look: &str) {
        self.looks.push_back((self.next, look.into()));
        self.next += 1;
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
    }

    /// Those from a number on.
    pub(super) fn since(&self, number: u64) -> impl Iterator<Item = &(u64, Arc<str>)> {
        self.looks.iter().filter(move |(it, _)| *it >= number)
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }
}

/// Looks once.
pub(super) async fn look(
    aws: &Aws,
    application: &str,
    stream: Option<&StreamName>,
    no_lag: bool,
) -> Result<String, Failure> {
    let mut view = read::read(aws, application).await?;
    let stream = read::stream_of(&view, stream.cloned());
    if !no_lag {
        lag::measure(aws, &mut view, stream.as_ref()).await;
    }
    let listed = match &stream {
        // Without the permission there is no picture of the shards.
        Some(stream) => shards::all_shards(aws, stream).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let shard = |shard: &aws_sdk_kinesis::types::Shard| {
        let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
        let numbers = shard.sequence_number_range.as_ref();
        json!({
            "id": shard.shard_id,
            "start": shard.hash_key_range.as_ref().map(|range| part(&range.starting_hash_key)),
            "end": shard.hash_key_range.as_ref().map(|range| part(&range.ending_hash_key)),
            "parents": parents.into_iter().flatten().collect::<Vec<_>>(),
            "isOpen": numbers.is_some_and(|numbers| numbers.ending_sequence_number.is_none()),
        })
    };
    let shards: Vec<Value> = listed.iter().map(shard).collect();
    Ok(json!({ "at": text::time(aws.clock.now()), "fleet": view, "shards": shards }).to_string())
}

/// A look that failed.
pub(super) fn failed(failure: &Failure) -> String {
    json!({ "failure": failure.to_string() }).to_string()
}

/// The place of a hash key in the space of all, from 0 to 1: browsers have no numbers of 128 bits.
fn part(hash_key: &str) -> f64 {
    hash_key.parse::<u128>().map_or(0.0, |key| key as f64 / u128::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_looks_of_late_with_their_numbers() {
        let mut looks = Looks::default();
        (0..KEPT + 10).for_each(|number| looks.add(&number.to_string()));

        assert_eq!(looks.since(0).count(), KEPT);
        let last: Vec<&str> = looks.since(looks.next() - 2).map(|(_, look)| &**look).collect();
        assert_eq!(last, ["308", "309"]);
    }
}
