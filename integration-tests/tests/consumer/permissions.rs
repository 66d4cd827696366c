//! The IAM policies in docs/permissions.md are enough: everything works when all other actions are denied.

use std::collections::BTreeSet;

use integration_tests::{SHARD, World};
use kcl::Event;
use kpl::UserRecord;

const POLICIES: &str = include_str!("../../../docs/permissions.md");

/// Actions of both services that the embedded AWS answers.
const ACTIONS: [&str; 48] = [
    "kinesis:AddTagsToStream",
    "kinesis:CreateStream",
    "kinesis:DecreaseStreamRetentionPeriod",
    "kinesis:DeleteStream",
    "kinesis:DeregisterStreamConsumer",
    "kinesis:DescribeLimits",
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamConsumer",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:IncreaseStreamRetentionPeriod",
    "kinesis:ListShards",
    "kinesis:ListStreamConsumers",
    "kinesis:ListStreams",
    "kinesis:MergeShards",
    "kinesis:PutRecord",
    "kinesis:PutRecords",
    "kinesis:RegisterStreamConsumer",
    "kinesis:SplitShard",
    "kinesis:SubscribeToShard",
    "kinesis:UpdateShardCount",
    "kinesis:UpdateStreamMode",
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:CreateTable",
    "dynamodb:DeleteItem",
    "dynamodb:DeleteTable",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:GetItem",
    "dynamodb:ListTables",
    "dynamodb:ListTagsOfResource",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLSelect",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:TagResource",
    "dynamodb:UntagResource",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:UpdateItem",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
];

/// The actions that the policies name: of the producer's, then of the consumer's.
fn policies() -> Vec<BTreeSet<&'static str>> {
    let blocks = POLICIES.split("```json").skip(1).filter_map(|rest| rest.split("```").next());
    let actions = |block: &'static str| {
        let quoted = block.split('"').skip(1).step_by(2);
        quoted.filter(|text| text.starts_with("kinesis:") || text.starts_with("dynamodb:")).collect()
    };
    blocks.map(actions).collect()
}

fn deny_all_but(world: &World, allowed: &BTreeSet<&str>) {
    for action in ACTIONS.iter().filter(|action| !allowed.contains(*action)) {
        world.local.deny(action);
    }
}

#[test]
fn the_policies_name_only_actions_that_are_checked_here() {
    let policies = policies();

    assert_eq!(policies.iter().map(BTreeSet::len).collect::<Vec<_>>(), [3, 15]);
    assert!(policies.iter().flatten().all(|action| ACTIONS.contains(action)), "{policies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_producer_with_the_readmes_policy_puts_and_aggregates() {
    let world = World::start(1).await;
    deny_all_but(&world, &policies()[0]);
    let producer = world.producer();

    let first = producer.put(UserRecord::new("k", "1")).await.unwrap();
    let second = producer.put(UserRecord::new("k", "2")).await.unwrap();

    assert_eq!(first.await.unwrap().sequence_number(), second.await.unwrap().sequence_number());
}

#[tokio::test(start_paused = true)]
async fn workers_with_the_readmes_policy_share_follow_a_split_clean_up_and_stop() {
    let world = World::start(2).await;
    world.put(0..500).await;
    world.split(SHARD).await;
    world.put(500..1_000).await;
    deny_all_but(&world, &policies()[1]);

    let workers = ["w1", "w2"].map(|id| world.run(id));
    world.journal.processed(1_000).await;
    let parent = vec![SHARD.into()];
    let cleaned = |event: &Event| matches!(event, Event::LeasesCleanedUp { shards, .. } if *shards == parent);
    world.until("the parent's lease is deleted", || world.events.count(cleaned) == 1).await;
    world.until("both workers have shards", || world.journal.shards_by_worker().len() == 2).await;

    for worker in workers {
        worker.stop().await.unwrap();
    }
}
