// A worker of the KCL for Java. Prints what happens as lines of JSON; shuts down gracefully at the line `stop` on its
// input, at once when its input ends. Arguments are `name=value`: application, stream (or several, with commas), worker,
// retrieval (polling or fan-out), failover (milliseconds) and, if wanted, limit: the records of each shard after which to
// checkpoint and process no more, and one-table, to take part in that migration.
// AWS_ENDPOINT_URL_KINESIS and AWS_ENDPOINT_URL_DYNAMODB say where the services are.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import software.amazon.awssdk.awscore.client.builder.AwsAsyncClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.SdkHttpConfigurationOption;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.utils.AttributeMap;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.StreamConfig;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.coordinator.WorkerStateChangeListener;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy;
import software.amazon.kinesis.processor.MultiStreamTracker;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public final class Consume {
    public static void main(String[] args) throws Exception {
        var settings = Arrays.stream(args).map(arg -> arg.split("=", 2)).collect(Collectors.toMap(a -> a[0], a -> a[1]));
        var scheduler = scheduler(settings);
        var thread = new Thread(scheduler, "scheduler");
        thread.start();
        var orderly = false;
        try (var in = new BufferedReader(new InputStreamReader(System.in))) {
            if ("stop".equals(in.readLine())) {
                orderly = scheduler.startGracefulShutdown().get(20, TimeUnit.SECONDS);
            }
        } catch (TimeoutException stuck) {
            // It waits for shards that have ended, at times: their processors are told nothing any more.
        }
        scheduler.shutdown();
        thread.join(TimeUnit.SECONDS.toMillis(30));
        tell("stopped", "\"orderly\":" + orderly);
        // Threads of the KCL are left over at times.
        System.exit(0);
    }

    private static Scheduler scheduler(Map<String, String> settings) {
        var kinesis = client(KinesisAsyncClient.builder(), "AWS_ENDPOINT_URL_KINESIS", Protocol.HTTP2);
        var dynamodb = client(DynamoDbAsyncClient.builder(), "AWS_ENDPOINT_URL_DYNAMODB", Protocol.HTTP1_1);
        // Never called: there are no metrics.
        var cloudwatch = client(CloudWatchAsyncClient.builder(), "AWS_ENDPOINT_URL_KINESIS", Protocol.HTTP1_1);
        var limit = Long.parseLong(settings.getOrDefault("limit", Long.toString(Long.MAX_VALUE)));
        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        var stream = settings.get("stream");
        var application = settings.get("application");
        ShardRecordProcessorFactory processors = () -> new Processor(limit);
        var several = stream.contains(",");
        var configs = several
                ? new ConfigsBuilder(new Streams(kinesis, stream.split(","), start), application, kinesis, dynamodb,
                        cloudwatch, settings.get("worker"), processors)
                : new ConfigsBuilder(new SingleStreamTracker(stream, start), application, kinesis, dynamodb,
                        cloudwatch, settings.get("worker"), processors);

        var failover = Long.parseLong(settings.get("failover"));
        var leases = configs.leaseManagementConfig()
                .failoverTimeMillis(failover)
                .shardSyncIntervalMillis(1_000)
                .leasesRecoveryAuditorExecutionFrequencyMillis(2_000)
                .listShardsBackoffTimeInMillis(200)
                // By default the KCL knows nothing of a new shard for up to 30 s, and cannot tell foreign aggregates there.
                .listShardsCacheAllowedAgeInSeconds(0);
        Tuning.apply(leases, failover);
        var coordinator = configs.coordinatorConfig()
                .parentShardPollIntervalMillis(500)
                .shardConsumerDispatchPollIntervalMillis(200)
                .workerStateChangeListener(new Told());
        if (settings.containsKey("one-table")) {
            Tuning.migrateToOneTable(coordinator);
        }
        var retrieval = configs.retrievalConfig();
        if (several) {
            retrieval.retrievalSpecificConfig(new PollingConfig(kinesis).idleTimeBetweenReadsInMillis(250));
        } else if (settings.get("retrieval").equals("fan-out")) {
            retrieval.retrievalSpecificConfig(new FanOutConfig(kinesis).streamName(stream).applicationName(application));
        } else {
            retrieval.retrievalSpecificConfig(new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(250));
        }
        var metrics = configs.metricsConfig().metricsFactory(new NullMetricsFactory());
        return new Scheduler(configs.checkpointConfig(), coordinator, leases, configs.lifecycleConfig(), metrics,
                configs.processorConfig(), retrieval);
    }

    private static <B extends AwsAsyncClientBuilder<B, C> & AwsClientBuilder<B, C>, C> C client(
            B builder, String endpoint, Protocol protocol) {
        var anyCertificate = AttributeMap.builder().put(SdkHttpConfigurationOption.TRUST_ALL_CERTIFICATES, true).build();
        var http = NettyNioAsyncHttpClient.builder().protocol(protocol).maxConcurrency(200).buildWithDefaults(anyCertificate);
        return builder.httpClient(http).endpointOverride(URI.create(System.getenv(endpoint))).build();
    }

    /** Streams by name, with the identifiers that their leases begin with. */
    private static final class Streams implements MultiStreamTracker {
        private final List<StreamConfig> streams;

        private Streams(KinesisAsyncClient kinesis, String[] names, InitialPositionInStreamExtended start) {
            streams = Arrays.stream(names).map(name -> new StreamConfig(identifier(kinesis, name), start)).toList();
        }

        private static StreamIdentifier identifier(KinesisAsyncClient kinesis, String name) {
            var stream = kinesis.describeStreamSummary(request -> request.streamName(name)).join().streamDescriptionSummary();
            var account = stream.streamARN().split(":")[4];
            return StreamIdentifier.multiStreamInstance(
                    account + ":" + name + ":" + stream.streamCreationTimestamp().getEpochSecond());
        }

        @Override
        public List<StreamConfig> streamConfigList() {
            return streams;
        }

        @Override
        public FormerStreamsLeasesDeletionStrategy formerStreamsLeasesDeletionStrategy() {
            return new FormerStreamsLeasesDeletionStrategy.NoLeaseDeletionStrategy();
        }
    }

    /** Tells of the worker. */
    private static final class Told implements WorkerStateChangeListener {
        @Override
        public void onWorkerStateChange(WorkerState state) {
            if (state == WorkerState.STARTED) {
                tell("started", "");
            }
        }

        @Override
        public void onAllInitializationAttemptsFailed(Throwable error) {
            error.printStackTrace();
            tell("error", "\"error\":\"" + error.getClass().getName() + "\"");
        }
    }

    /** Tells of the records of a shard, and checkpoints after each batch, or within it where the limit is reached. */
    private static final class Processor implements ShardRecordProcessor {
        private String shard;
        private long left;

        private Processor(long limit) {
            left = limit;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            var from = input.extendedSequenceNumber();
            tell("initialized", of() + ",\"checkpoint\":\"" + from.sequenceNumber() + "\",\"sub\":" + from.subSequenceNumber());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            if (left == 0 || input.records().isEmpty()) {
                return;
            }
            var records = input.records().subList(0, (int) Math.min(left, input.records().size()));
            left -= records.size();
            var last = records.get(records.size() - 1);
            var told = records.stream().map(Consume::told).collect(Collectors.joining(","));
            tell("records", of() + ",\"records\":[" + told + "]");
            checkpoint(() -> input.checkpointer().checkpoint(last.sequenceNumber(), last.subSequenceNumber()));
            if (left == 0) {
                tell("limit", of());
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            tell("lease_lost", of());
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(input.checkpointer()::checkpoint);
            tell("shard_ended", of());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            tell("shutdown_requested", of());
        }

        private void checkpoint(Checkpoint checkpoint) {
            try {
                checkpoint.make();
            } catch (ShutdownException error) {
                tell("checkpoint_refused", of());
            } catch (InvalidStateException error) {
                throw new IllegalStateException(error);
            }
        }

        private String of() {
            return "\"shard\":\"" + shard + "\"";
        }
    }

    private interface Checkpoint {
        void make() throws InvalidStateException, ShutdownException;
    }

    /** Number, digest of partition key and data, explicit hash key, and whether it was in an aggregate. */
    private static String told(KinesisClientRecord record) {
        var data = new byte[record.data().remaining()];
        record.data().duplicate().get(data);
        var id = ByteBuffer.wrap(data).getLong();
        try {
            var digest = MessageDigest.getInstance("MD5");
            digest.update(record.partitionKey().getBytes(StandardCharsets.UTF_8));
            digest.update((byte) 0);
            var hex = HexFormat.of().formatHex(digest.digest(data));
            var hashKey = record.explicitHashKey() == null ? "" : record.explicitHashKey();
            return "[" + id + ",\"" + hex + "\",\"" + hashKey + "\"," + record.aggregated() + "]";
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    private static synchronized void tell(String event, String fields) {
        System.out.println("{\"event\":\"" + event + "\"" + (fields.isEmpty() ? "" : "," + fields) + "}");
        System.out.flush();
    }
}
