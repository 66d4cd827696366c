//! From settings to a worker, and what else the settings are good for.

use std::sync::Arc;

use aws_types::SdkConfig;

use super::{Worker, builder::WorkerBuilder};
use crate::{
    error::{ConfigError, KinesisError, KinesisErrorKind},
    kinesis::{Kinesis, SdkKinesis},
    model::{
        policies::{InitialPosition, LONGEST},
        retrieval::Retrieval,
    },
    processor::ProcessorFactory,
    settings::streams::{Source, StreamConfig, Streams},
    stream::{
        Stream,
        catalog::{Catalog, Several},
    },
    table::{dynamodb::DynamoDbLeaseStore, memory::MemoryLeaseStore},
};
#[cfg(test)]
use crate::{event::Events, settings::Settings};

impl WorkerBuilder {
    /// Builds a worker that runs one processor, made by `factory`, for each shard it holds.
    ///
    /// # Errors
    /// A setting is out of its bounds. Nothing is called over the network yet.
    pub fn build<F: ProcessorFactory>(mut self, factory: F) -> Result<Worker<F>, ConfigError> {
        self.validate()?;
        self.settle();
        if let Some(window) = self.settings.replay {
            self.everywhere(InitialPosition::AtTimestamp(window.from));
            let (store, catalog) = (Arc::new(MemoryLeaseStore::default()), self.catalog());
            return Ok(Worker::new(self.settings, self.events, catalog, store, factory));
        }
        let catalog = self.catalog();
        let Self { aws, lease_table_aws, settings, events, .. } = self;
        let (table, legacy) = (settings.table.clone(), settings.legacy_tables.clone());
        let aws = lease_table_aws.as_ref().unwrap_or(&aws);
        let store =
            Arc::new(DynamoDbLeaseStore::new(aws, settings.clock.clone(), table, legacy, settings.create_table));
        Ok(Worker::new(settings, events, catalog, store, factory))
    }

    /// Applies what follows from several settings together.
    pub(crate) fn settle(&mut self) {
        self.settings.application = self.application();
        let settings = &mut self.settings;
        if settings.replay.is_some() {
            // In memory nobody waits for a lease to expire, and a process that was suspended is to go on.
            settings.lease_duration = LONGEST;
        }
        for duration in [
            &mut settings.lease_duration,
            &mut settings.handoff_timeout,
            &mut settings.idle_between_reads,
            &mut settings.shutdown_grace,
            &mut settings.warn_after,
        ] {
            *duration = LONGEST.min(*duration);
        }
    }

    /// What the worker is registered as; a replay must not take over what the live application is.
    fn application(&self) -> String {
        let suffix = if self.settings.replay.is_some() { "-replay" } else { "" };
        format!("{}{suffix}", self.settings.application)
    }

    /// Starts all streams that are listed now there, whatever is said of one of them.
    pub(crate) fn everywhere(&mut self, position: InitialPosition) {
        self.initial_position = position;
        match &mut self.source {
            Source::One(stream) => stream.initial_position = None,
            Source::Several(streams) => {
                let listed = streams.get().into_iter();
                *streams = Streams::new(listed.map(|stream| StreamConfig { initial_position: None, ..stream }));
            }
        }
    }

    /// The streams to read, none of them asked for yet.
    pub(crate) fn catalog(&self) -> Catalog {
        let client = SdkKinesis::client(&self.aws, self.settings.clock.clone());
        let open = move |stream: &str| Arc::new(SdkKinesis::new(client.clone(), stream.to_owned())) as Arc<dyn Kinesis>;
        match &self.source {
            Source::One(config) => self.only(config, open(&config.stream)),
            Source::Several(streams) => {
                let region = self.aws.region().map_or("", |region| region.as_ref());
                Catalog::Several(Box::new(Several::new(streams.clone(), self.initial_position, region, Arc::new(open))))
            }
        }
    }

    fn only(&self, config: &StreamConfig, kinesis: Arc<dyn Kinesis>) -> Catalog {
        let mut config = config.clone();
        if let Retrieval::FanOut(fan_out) = &self.settings.retrieval {
            config.consumer_arn.clone_from(&fan_out.consumer_arn);
        }
        Catalog::One(Arc::new(Stream::only(&config, self.initial_position, kinesis)))
    }

    /// Removes the registered consumers that [`Retrieval::FanOut`] made, one for each stream, so that they are billed no
    /// longer; false if there is none. For when the application's last worker has stopped for good: a worker that runs
    /// registers them again.
    ///
    /// # Errors
    /// Kinesis refused, or could not be reached; consumers may still be there.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the consumers are removed.
    pub async fn deregister_consumer(&self) -> Result<bool, KinesisError> {
        let Retrieval::FanOut(fan_out) = &self.settings.retrieval else { return Ok(false) };
        let mut any = false;
        for stream in self.catalog().listed(&self.events).await {
            any |= deregister(&stream, fan_out.name(&self.application())).await?;
        }
        Ok(any)
    }

    pub(crate) fn lease_table_aws(&self) -> &SdkConfig {
        self.lease_table_aws.as_ref().unwrap_or(&self.aws)
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Settings, Events, Catalog) {
        let catalog = self.catalog();
        (self.settings, self.events, catalog)
    }

    /// With the streams of a test.
    #[cfg(test)]
    pub(crate) fn into_parts_on(self, kinesis: Arc<dyn Kinesis>) -> (Settings, Events, Catalog) {
        let catalog = self.only(&StreamConfig::new("stream"), kinesis);
        (self.settings, self.events, catalog)
    }
}

/// False: there is no such consumer.
async fn deregister(stream: &Stream, name: &str) -> Result<bool, KinesisError> {
    let arn = match &stream.consumer_arn {
        Some(arn) => arn.to_string(),
        None => {
            let stream_arn = stream.kinesis.describe().await?.identity.arn;
            match stream.kinesis.find_consumer(&stream_arn, name).await? {
                Some(found) => found.arn,
                None => return Ok(false),
            }
        }
    };
    match stream.kinesis.deregister_consumer(&arn).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind == KinesisErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
