//! From settings to a worker, and what else the settings are good for.

use std::sync::Arc;

use super::{Worker, builder::WorkerBuilder};
use crate::{
    calls::Calls,
    error::{ConfigError, KinesisError, KinesisErrorKind},
    kinesis::{Kinesis, NotedKinesis, SdkKinesis},
    logic::purpose::Purpose,
    metrics::Recorder,
    model::{CheckpointEvery, InitialPosition, MAX_DURATION, Retrieval},
    processor::ProcessorFactory,
    settings::streams::{Source, StreamConfig, Streams},
    stream::{Catalog, MultiCatalog, Stream},
    table::{LeaseTable, dynamodb::DynamoDbLeaseTable, memory::MemoryLeaseTable},
};

impl WorkerBuilder {
    /// Builds a worker that runs one processor, made by `factory`, for each shard it holds. Only the
    /// processors checkpoint, by their [`Checkpointer`](crate::Checkpointer).
    ///
    /// # Errors
    /// A setting is out of its bounds, or no region is configured. Nothing is called over the network yet.
    pub fn build<F: ProcessorFactory>(mut self, factory: F) -> Result<Worker<F>, ConfigError> {
        self.validate()?;
        self.settle();
        self.settings.calls = Calls::default(); // the builder may be a clone
        let table = match self.settings.purpose {
            Purpose::Live => self.table_in_dynamodb(self.settings.create_table),
            Purpose::Replay(window) => {
                self.everywhere(InitialPosition::AtTimestamp(window.from));
                LeaseTable::Memory(MemoryLeaseTable::default())
            }
        };
        let catalog = self.catalog();
        Ok(Worker::new(self.settings, self.events, catalog, table, factory))
    }

    /// Like [`build`](Self::build), with checkpoints of the worker's own beside those of the processors: they cover what
    /// `process_records` returned `Ok` for, and are also written before the processor is dropped. A prepared checkpoint
    /// is not ended before what it covers is processed.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_checkpointing<F: ProcessorFactory>(
        mut self,
        every: CheckpointEvery,
        factory: F,
    ) -> Result<Worker<F>, ConfigError> {
        self.settings.checkpoint_every = Some(every);
        self.build(factory)
    }

    pub(crate) fn table_in_dynamodb(&self, may_create: bool) -> LeaseTable {
        let (aws, settings) = (self.dynamodb.clone(), self.settings.clone());
        let recorder = Recorder::of_table(settings.recording());
        let table = DynamoDbLeaseTable::new(aws, settings.clock, settings.table, settings.legacy_tables, may_create);
        table.record_to(recorder);
        LeaseTable::DynamoDb(Box::new(table))
    }

    /// Applies what follows from several settings together.
    pub(crate) fn settle(&mut self) {
        self.settings.application = self.application();
        let settings = &mut self.settings;
        if !settings.purpose.has_leader() {
            // In memory nobody waits for a lease to expire, and a process that was suspended must go on.
            settings.lease_duration = MAX_DURATION;
        }
        settings.adopt_after = settings.adopt_after.map(|wait| MAX_DURATION.min(wait));
        for duration in [
            &mut settings.lease_duration,
            &mut settings.handoff_timeout,
            &mut settings.shutdown_grace,
            &mut settings.warn_after,
        ] {
            *duration = MAX_DURATION.min(*duration);
        }
    }

    /// Name under which the worker is registered.
    fn application(&self) -> String {
        format!("{}{}", self.settings.application, self.settings.purpose.name_suffix())
    }

    /// Starts all streams that are listed now there, whatever is said of one of them.
    pub(crate) fn everywhere(&mut self, position: InitialPosition) {
        self.initial_position = position;
        match &mut self.source {
            Source::Single(stream) => stream.initial_position = None,
            Source::Multi(streams) => {
                let listed = streams.get().into_iter();
                *streams = Streams::new(listed.map(|stream| StreamConfig { initial_position: None, ..stream }));
            }
        }
    }

    pub(crate) fn catalog(&self) -> Catalog {
        let client = SdkKinesis::client(&self.kinesis, self.settings.clock.clone());
        let calls = self.settings.calls.clone();
        let open = move |stream: &str| {
            let kinesis = SdkKinesis::new(client.clone(), stream.to_owned());
            Arc::new(NotedKinesis::new(kinesis, stream, calls.clone())) as Arc<dyn Kinesis>
        };
        match &self.source {
            Source::Single(config) => self.only(config, open(&config.stream)),
            Source::Multi(streams) => {
                let region = self.kinesis.region().map_or("", |region| region.as_ref());
                Catalog::Multi(Box::new(MultiCatalog::new(
                    streams.clone(),
                    self.initial_position,
                    region,
                    Arc::new(open),
                )))
            }
        }
    }

    fn only(&self, config: &StreamConfig, kinesis: Arc<dyn Kinesis>) -> Catalog {
        let mut config = config.clone();
        if let Retrieval::FanOut(fan_out) = &self.settings.retrieval {
            config.consumer_arn.clone_from(&fan_out.consumer_arn);
        }
        Catalog::Single(Arc::new(Stream::only(&config, self.initial_position, kinesis)))
    }

    /// Deregisters the consumers that [`Retrieval::FanOut`] made, one for each stream; false if there is none. For
    /// after the application's last worker: a running worker registers them again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Events, settings::Settings};

    impl WorkerBuilder {
        pub(crate) fn into_parts(self) -> (Settings, Events, Catalog) {
            let catalog = self.catalog();
            (self.settings, self.events, catalog)
        }

        pub(crate) fn into_parts_on(self, kinesis: Arc<dyn Kinesis>) -> (Settings, Events, Catalog) {
            let catalog = self.only(&StreamConfig::new("stream"), kinesis);
            (self.settings, self.events, catalog)
        }
    }
}
