//! Requests about tags and settings of streams.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Number, Text};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Deserialize, Debug)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name<'a> {
            #[serde(borrow)]
            pub(in crate::kinesis) stream_name: Option<Text<'a>>,
            #[serde(borrow, rename = "StreamARN")]
            pub(in crate::kinesis) stream_arn: Option<Text<'a>>,
            $($(#[$attr])* pub(in crate::kinesis) $field: Option<$type>,)*
        }
    )*};
}

settings! {
    /// AddTagsToStream.
    AddTags {
        tags: BTreeMap<String, String>,
    }
    /// RemoveTagsFromStream.
    RemoveTags {
        tag_keys: Vec<String>,
    }
    /// ListTagsForStream.
    ListTags {
        #[serde(borrow)]
        exclusive_start_tag_key: Text<'a>,
        limit: Number,
    }
    /// StartStreamEncryption and StopStreamEncryption.
    Encryption {
        #[serde(borrow)]
        encryption_type: Text<'a>,
        #[serde(borrow)]
        key_id: Text<'a>,
    }
    /// UpdateStreamMode.
    UpdateStreamMode {
        stream_mode_details: super::StreamModeDetails,
    }
    /// UpdateStreamRecordDistributionStrategy.
    UpdateDistribution {
        #[serde(borrow)]
        record_distribution_strategy: Text<'a>,
    }
    /// EnableEnhancedMonitoring and DisableEnhancedMonitoring.
    Monitoring {
        shard_level_metrics: Vec<String>,
    }
}

/// TagResource.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagResource<'a> {
    #[serde(borrow, rename = "ResourceARN")]
    pub(in crate::kinesis) resource_arn: Option<Text<'a>>,
    pub(in crate::kinesis) tags: Option<BTreeMap<String, String>>,
}

/// UntagResource and ListTagsForResource.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagKeys<'a> {
    #[serde(borrow, rename = "ResourceARN")]
    pub(in crate::kinesis) resource_arn: Option<Text<'a>>,
    pub(in crate::kinesis) tag_keys: Option<Vec<String>>,
}

/// PutResourcePolicy, GetResourcePolicy and DeleteResourcePolicy.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourcePolicy<'a> {
    #[serde(borrow, rename = "ResourceARN")]
    pub(in crate::kinesis) resource_arn: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::kinesis) policy: Option<Text<'a>>,
}

/// DescribeLimits, which says nothing.
#[derive(Deserialize, Debug)]
pub(crate) struct Nothing {}
