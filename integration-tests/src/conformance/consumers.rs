//! Checks of consumers with enhanced fan-out: registering, describing, listing, deregistering.

use aws_sdk_kinesis::operation::deregister_stream_consumer::DeregisterStreamConsumerError;
use aws_sdk_kinesis::operation::describe_stream_consumer::DescribeStreamConsumerError;
use aws_sdk_kinesis::operation::register_stream_consumer::RegisterStreamConsumerError;
use aws_sdk_kinesis::types::{Consumer, ConsumerDescription, ConsumerStatus};

use super::check::{api, checks};
use super::expect::{Failure, Outcome, equal, holds, present, refused_as};
use super::peer::{Peer, unique, until};
use super::stream::Stream;

checks! {
    Kinesis a_consumer_is_creating_when_it_is_registered: api!("RegisterStreamConsumer");
    Kinesis a_consumer_becomes_active: api!("RegisterStreamConsumer");
    Kinesis the_arn_of_a_consumer_extends_that_of_its_stream: api!("Consumer");
    Kinesis the_name_of_a_consumer_is_taken: api!("RegisterStreamConsumer");
    Kinesis a_consumer_of_a_missing_stream_is_refused: api!("RegisterStreamConsumer");
    Kinesis a_consumer_is_described_by_its_arn: api!("DescribeStreamConsumer");
    Kinesis a_consumer_is_described_by_its_name: api!("DescribeStreamConsumer");
    Kinesis a_consumer_is_described_by_all_its_names: api!("DescribeStreamConsumer");
    Kinesis names_of_two_consumers_are_refused: api!("DescribeStreamConsumer");
    Kinesis a_missing_consumer_is_not_found: api!("DescribeStreamConsumer");
    Kinesis consumers_are_listed: api!("ListStreamConsumers");
    Kinesis consumers_are_listed_in_pages: api!("ListStreamConsumers");
    Kinesis a_stream_counts_its_consumers: api!("StreamDescriptionSummary");
    Kinesis a_deregistered_consumer_goes: api!("DeregisterStreamConsumer");
    Kinesis a_consumer_is_deregistered_by_all_its_names: api!("DeregisterStreamConsumer");
    Kinesis a_missing_consumer_cannot_be_deregistered: api!("DeregisterStreamConsumer");
    Kinesis a_name_is_free_again_when_its_consumer_is_gone: api!("DeregisterStreamConsumer");
    Kinesis a_stream_has_20_consumers_at_most: api!("RegisterStreamConsumer");
    Kinesis a_stream_with_consumers_is_not_deleted: api!("DeleteStream");
    Kinesis a_stream_is_deleted_with_its_consumers: api!("DeleteStream");
}

async fn register(stream: &Stream, name: &str) -> Result<Consumer, Failure> {
    let register = stream.kinesis.register_stream_consumer().stream_arn(&stream.arn).consumer_name(name);
    present(register.send().await?.consumer, "Consumer")
}

async fn describe(stream: &Stream, arn: &str) -> Result<ConsumerDescription, Failure> {
    let answer = stream.kinesis.describe_stream_consumer().consumer_arn(arn).send().await?;
    present(answer.consumer_description, "ConsumerDescription")
}

/// Registers a consumer, waits until it is active, and tells its ARN.
pub(super) async fn active(stream: &Stream, name: &str) -> Result<String, Failure> {
    let arn = register(stream, name).await?.consumer_arn;
    until("the consumer is ACTIVE", async || {
        Ok(*describe(stream, &arn).await?.consumer_status() == ConsumerStatus::Active)
    })
    .await?;
    Ok(arn)
}

async fn a_consumer_is_creating_when_it_is_registered(peer: Peer) -> Outcome {
    let consumer = register(&Stream::create(&peer, 1).await?, "app").await?;
    equal("name and status", (consumer.consumer_name(), consumer.consumer_status()), ("app", &ConsumerStatus::Creating))
}

async fn a_consumer_becomes_active(peer: Peer) -> Outcome {
    active(&Stream::create(&peer, 1).await?, "app").await.map(|_| ())
}

async fn the_arn_of_a_consumer_extends_that_of_its_stream(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let consumer = register(&stream, "app").await?;
    let created = consumer.consumer_creation_timestamp().secs();
    equal("ARN", consumer.consumer_arn(), format!("{}/consumer/app:{created}", stream.arn))
}

async fn the_name_of_a_consumer_is_taken(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "app").await?;
    let again = stream.kinesis.register_stream_consumer().stream_arn(&stream.arn).consumer_name("app").send().await;
    refused_as(again, RegisterStreamConsumerError::is_resource_in_use_exception)
}

async fn a_consumer_of_a_missing_stream_is_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let missing = format!("{}-missing", stream.arn);
    let answer = stream.kinesis.register_stream_consumer().stream_arn(missing).consumer_name("app").send().await;
    refused_as(answer, RegisterStreamConsumerError::is_resource_not_found_exception)
}

async fn a_consumer_is_described_by_its_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let arn = active(&stream, "app").await?;
    let consumer = describe(&stream, &arn).await?;
    equal("name and stream", (consumer.consumer_name(), consumer.stream_arn()), ("app", stream.arn.as_str()))
}

async fn a_consumer_is_described_by_its_name(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let arn = active(&stream, "app").await?;
    let describe = stream.kinesis.describe_stream_consumer().stream_arn(&stream.arn).consumer_name("app");
    let consumer = present(describe.send().await?.consumer_description, "ConsumerDescription")?;
    equal("ARN", consumer.consumer_arn(), arn)
}

async fn a_consumer_is_described_by_all_its_names(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "other").await?;
    let arn = active(&stream, "app").await?;
    let describe = stream.kinesis.describe_stream_consumer().stream_arn(&stream.arn).consumer_name("app");
    let answer = describe.consumer_arn(&arn).send().await?;
    let consumer = present(answer.consumer_description, "ConsumerDescription")?;
    equal("name and ARN", (consumer.consumer_name(), consumer.consumer_arn()), ("app", arn.as_str()))
}

async fn names_of_two_consumers_are_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "app").await?;
    let arn = active(&stream, "other").await?;
    let describe = stream.kinesis.describe_stream_consumer().stream_arn(&stream.arn).consumer_name("app");
    refused_as(describe.consumer_arn(&arn).send().await, DescribeStreamConsumerError::is_invalid_argument_exception)
}

async fn a_missing_consumer_is_not_found(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let describe = stream.kinesis.describe_stream_consumer().stream_arn(&stream.arn).consumer_name("missing");
    refused_as(describe.send().await, DescribeStreamConsumerError::is_resource_not_found_exception)
}

fn names(consumers: &[Consumer]) -> Vec<&str> {
    let mut names: Vec<_> = consumers.iter().map(Consumer::consumer_name).collect();
    names.sort_unstable();
    names
}

async fn consumers_are_listed(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "a").await?;
    active(&stream, "b").await?;
    let list = stream.kinesis.list_stream_consumers().stream_arn(&stream.arn).send().await?;
    equal("names", names(list.consumers()), ["a", "b"])
}

async fn consumers_are_listed_in_pages(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "a").await?;
    active(&stream, "b").await?;
    let list = || stream.kinesis.list_stream_consumers().stream_arn(&stream.arn).max_results(1);
    let first = list().send().await?;
    equal("consumers of the first page", first.consumers().len(), 1)?;
    let token = present(first.next_token(), "NextToken")?;
    let second = list().next_token(token).send().await?;
    let all = [first.consumers(), second.consumers()].concat();
    equal("names", names(&all), ["a", "b"])
}

async fn a_stream_counts_its_consumers(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "app").await?;
    equal("ConsumerCount", stream.summary().await?.consumer_count(), Some(1))
}

/// Waits until a consumer is gone.
async fn gone(stream: &Stream, arn: &str) -> Outcome {
    until("the consumer is gone", async || {
        let answer = stream.kinesis.describe_stream_consumer().consumer_arn(arn).send().await;
        match &answer {
            Ok(_) => Ok(false),
            Err(_) => refused_as(answer, DescribeStreamConsumerError::is_resource_not_found_exception).map(|()| true),
        }
    })
    .await
}

async fn a_deregistered_consumer_goes(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let arn = active(&stream, "app").await?;
    stream.kinesis.deregister_stream_consumer().consumer_arn(&arn).send().await?;
    gone(&stream, &arn).await
}

async fn a_consumer_is_deregistered_by_all_its_names(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let other = active(&stream, "other").await?;
    let arn = active(&stream, "app").await?;
    let deregister = stream.kinesis.deregister_stream_consumer().stream_arn(&stream.arn).consumer_name("app");
    deregister.consumer_arn(&arn).send().await?;
    gone(&stream, &arn).await?;
    equal("name of the one that stays", describe(&stream, &other).await?.consumer_name(), "other")
}

async fn a_missing_consumer_cannot_be_deregistered(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let deregister = stream.kinesis.deregister_stream_consumer().stream_arn(&stream.arn).consumer_name("missing");
    refused_as(deregister.send().await, DeregisterStreamConsumerError::is_resource_not_found_exception)
}

async fn a_name_is_free_again_when_its_consumer_is_gone(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let arn = active(&stream, "app").await?;
    stream.kinesis.deregister_stream_consumer().stream_arn(&stream.arn).consumer_name("app").send().await?;
    gone(&stream, &arn).await?;
    active(&stream, "app").await.map(|_| ())
}

async fn a_stream_has_20_consumers_at_most(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    for n in 0..20 {
        active(&stream, &format!("app-{n}")).await?;
    }
    let more = stream.kinesis.register_stream_consumer().stream_arn(&stream.arn).consumer_name(unique("more"));
    refused_as(more.send().await, RegisterStreamConsumerError::is_limit_exceeded_exception)
}

async fn a_stream_with_consumers_is_not_deleted(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    active(&stream, "app").await?;
    let delete = stream.kinesis.delete_stream().stream_name(&stream.name).send().await;
    let is_in_use = aws_sdk_kinesis::operation::delete_stream::DeleteStreamError::is_resource_in_use_exception;
    refused_as(delete, is_in_use)?;
    stream.active().await
}

async fn a_stream_is_deleted_with_its_consumers(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let arn = active(&stream, "app").await?;
    stream.kinesis.delete_stream().stream_name(&stream.name).enforce_consumer_deletion(true).send().await?;
    gone(&stream, &arn).await?;
    let list = stream.kinesis.list_streams().exclusive_start_stream_name(&stream.name).send().await?;
    holds(!list.stream_names().contains(&stream.name), "the stream is not listed")
}
