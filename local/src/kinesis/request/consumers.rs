//! Requests about consumers and subscriptions. Streams are named by their ARN here.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Number, Text};
use crate::timestamp::Millis;

/// RegisterStreamConsumer.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RegisterStreamConsumer<'a> {
    #[serde(borrow, rename = "StreamARN")]
    pub(in crate::kinesis) stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) consumer_name: Option<Text<'a>>,
    pub(in crate::kinesis) tags: Option<BTreeMap<String, String>>,
}

/// DescribeStreamConsumer and DeregisterStreamConsumer: a consumer by its ARN, by its name and its stream, or by all three.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StreamConsumer<'a> {
    #[serde(borrow, rename = "StreamARN")]
    pub(in crate::kinesis) stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) consumer_name: Option<Text<'a>>,
    #[serde(borrow, rename = "ConsumerARN")]
    pub(in crate::kinesis) consumer_arn: Option<Text<'a>>,
}

/// ListStreamConsumers.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStreamConsumers<'a> {
    #[serde(borrow, rename = "StreamARN")]
    pub(in crate::kinesis) stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) next_token: Option<Text<'a>>,
    pub(in crate::kinesis) max_results: Option<Number>,
    pub(in crate::kinesis) stream_creation_timestamp: Option<Millis>,
}

/// SubscribeToShard.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SubscribeToShard<'a> {
    #[serde(borrow, rename = "ConsumerARN")]
    pub(in crate::kinesis) consumer_arn: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) shard_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) starting_position: Option<StartingPosition<'a>>,
    pub(in crate::kinesis) dry_run: Option<bool>,
}

/// The start of a subscription.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StartingPosition<'a> {
    #[serde(borrow, rename = "Type")]
    pub(in crate::kinesis) position_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) sequence_number: Option<Text<'a>>,
    pub(in crate::kinesis) timestamp: Option<Millis>,
}
