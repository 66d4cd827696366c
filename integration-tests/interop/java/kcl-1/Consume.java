// A worker of the KCL 1.x for Java, with the arguments and the output of that of later versions in ../kcl. It reads by polling.

import com.amazonaws.auth.DefaultAWSCredentialsProviderChain;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.InvalidStateException;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.KinesisClientLibDependencyException;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.ShutdownException;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.ThrottlingException;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.IRecordProcessorCheckpointer;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IRecordProcessor;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IShutdownNotificationAware;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.InitialPositionInStream;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.KinesisClientLibConfiguration;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.ShutdownReason;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.Worker;
import com.amazonaws.services.kinesis.clientlibrary.types.InitializationInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ProcessRecordsInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ShutdownInput;
import com.amazonaws.services.kinesis.clientlibrary.types.UserRecord;
import com.amazonaws.services.kinesis.metrics.impl.NullMetricsFactory;
import com.amazonaws.services.kinesis.model.Record;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

public final class Consume {
    public static void main(String[] args) throws Exception {
        var settings = Arrays.stream(args).map(arg -> arg.split("=", 2)).collect(Collectors.toMap(a -> a[0], a -> a[1]));
        var limit = Long.parseLong(settings.getOrDefault("limit", Long.toString(Long.MAX_VALUE)));
        var worker = new Worker.Builder()
                .recordProcessorFactory(() -> new Processor(limit))
                .config(configuration(settings))
                .metricsFactory(new NullMetricsFactory())
                .build();
        var thread = new Thread(worker, "worker");
        thread.start();
        var orderly = false;
        try (var in = new BufferedReader(new InputStreamReader(System.in))) {
            if ("stop".equals(in.readLine())) {
                orderly = worker.startGracefulShutdown().get(20, TimeUnit.SECONDS);
            }
        } catch (TimeoutException stuck) {
            // It waits for shards that have ended, at times: their processors are told nothing any more.
        }
        worker.shutdown();
        thread.join(TimeUnit.SECONDS.toMillis(30));
        tell("stopped", "\"orderly\":" + orderly);
        // Threads of the KCL are left over at times.
        System.exit(0);
    }

    private static KinesisClientLibConfiguration configuration(Map<String, String> settings) {
        var credentials = new DefaultAWSCredentialsProviderChain();
        return new KinesisClientLibConfiguration(
                settings.get("application"), settings.get("stream"), credentials, settings.get("worker"))
                .withInitialPositionInStream(InitialPositionInStream.TRIM_HORIZON)
                .withRegionName(System.getenv("AWS_REGION"))
                .withKinesisEndpoint(System.getenv("AWS_ENDPOINT_URL_KINESIS"))
                .withDynamoDBEndpoint(System.getenv("AWS_ENDPOINT_URL_DYNAMODB"))
                .withFailoverTimeMillis(Long.parseLong(settings.get("failover")))
                .withShardSyncIntervalMillis(1_000)
                .withIdleTimeBetweenReadsInMillis(250);
    }

    /** Tells of the records of a shard, and checkpoints after each batch, or within it where the limit is reached. */
    private static final class Processor implements IRecordProcessor, IShutdownNotificationAware {
        private String shard;
        private long left;

        private Processor(long limit) {
            left = limit;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.getShardId();
            var from = input.getExtendedSequenceNumber();
            tell("initialized",
                    of() + ",\"checkpoint\":\"" + from.getSequenceNumber() + "\",\"sub\":" + from.getSubSequenceNumber());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            if (left == 0 || input.getRecords().isEmpty()) {
                return;
            }
            var records = input.getRecords().subList(0, (int) Math.min(left, input.getRecords().size()));
            left -= records.size();
            var last = records.get(records.size() - 1);
            var told = records.stream().map(Consume::told).collect(Collectors.joining(","));
            tell("records", of() + ",\"records\":[" + told + "]");
            checkpoint(() -> input.getCheckpointer().checkpoint(last));
            if (left == 0) {
                tell("limit", of());
            }
        }

        @Override
        public void shutdown(ShutdownInput input) {
            if (input.getShutdownReason() == ShutdownReason.TERMINATE) {
                checkpoint(input.getCheckpointer()::checkpoint);
                tell("shard_ended", of());
            } else {
                tell("lease_lost", of());
            }
        }

        @Override
        public void shutdownRequested(IRecordProcessorCheckpointer checkpointer) {
            tell("shutdown_requested", of());
        }

        private void checkpoint(Checkpoint checkpoint) {
            try {
                checkpoint.make();
            } catch (ShutdownException error) {
                tell("checkpoint_refused", of());
            } catch (InvalidStateException | ThrottlingException | KinesisClientLibDependencyException error) {
                throw new IllegalStateException(error);
            }
        }

        private String of() {
            return "\"shard\":\"" + shard + "\"";
        }
    }

    private interface Checkpoint {
        void make() throws InvalidStateException, ShutdownException, ThrottlingException,
                KinesisClientLibDependencyException;
    }

    /** Number, digest of partition key and data, explicit hash key, and whether it was in an aggregate. */
    private static String told(Record record) {
        var data = new byte[record.getData().remaining()];
        record.getData().duplicate().get(data);
        var id = ByteBuffer.wrap(data).getLong();
        var user = record instanceof UserRecord ? (UserRecord) record : null;
        try {
            var digest = MessageDigest.getInstance("MD5");
            digest.update(record.getPartitionKey().getBytes(StandardCharsets.UTF_8));
            digest.update((byte) 0);
            var hex = HexFormat.of().formatHex(digest.digest(data));
            var hashKey = user == null || user.getExplicitHashKey() == null ? "" : user.getExplicitHashKey();
            return "[" + id + ",\"" + hex + "\",\"" + hashKey + "\"," + (user != null && user.isAggregated()) + "]";
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    private static synchronized void tell(String event, String fields) {
        System.out.println("{\"event\":\"" + event + "\"" + (fields.isEmpty() ? "" : "," + fields) + "}");
        System.out.flush();
    }
}
