// A worker of the KCL for Java under measurement, with default settings: looks at each byte and checkpoints each batch.
// Arguments: application, stream, worker, records. Prints `first` with the first record, `done RECORDS SUM` when so many
// have been processed, with the sum of all their bytes, and `shards N` when the number of its processors changes; ends when
// its input does. AWS_ENDPOINT_URL_KINESIS and AWS_ENDPOINT_URL_DYNAMODB say where the services are.

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public final class MeasuredConsumer {
    private static final AtomicBoolean BEGUN = new AtomicBoolean();
    private static final AtomicInteger SHARDS = new AtomicInteger();
    private static final AtomicLong RECORDS = new AtomicLong();
    private static final AtomicLong SUM = new AtomicLong();
    private static long wanted;

    public static void main(String[] args) throws Exception {
        wanted = Long.parseLong(args[3]);
        new Thread(scheduler(args[0], args[1], args[2]), "scheduler").start();
        while (System.in.read() >= 0) {
            // Its CPU time and memory are read when all is done.
        }
        System.exit(0);
    }

    private static Scheduler scheduler(String application, String stream, String worker) {
        var kinesis = Clients.client(KinesisAsyncClient.builder(), "AWS_ENDPOINT_URL_KINESIS", Protocol.HTTP2);
        var dynamodb = Clients.client(DynamoDbAsyncClient.builder(), "AWS_ENDPOINT_URL_DYNAMODB", Protocol.HTTP1_1);
        // Never called: there are no metrics.
        var cloudwatch = Clients.client(CloudWatchAsyncClient.builder(), "AWS_ENDPOINT_URL_KINESIS", Protocol.HTTP1_1);
        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        var configs = new ConfigsBuilder(new SingleStreamTracker(stream, start), application, kinesis, dynamodb,
                cloudwatch, worker, Processor::new);
        var retrieval = configs.retrievalConfig().retrievalSpecificConfig(new PollingConfig(stream, kinesis));
        var metrics = configs.metricsConfig().metricsFactory(new NullMetricsFactory());
        return new Scheduler(configs.checkpointConfig(), configs.coordinatorConfig(), configs.leaseManagementConfig(),
                configs.lifecycleConfig(), metrics, configs.processorConfig(), retrieval);
    }

    private static final class Processor implements ShardRecordProcessor {
        @Override
        public void initialize(InitializationInput input) {
            tell("shards " + SHARDS.incrementAndGet());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            if (!input.records().isEmpty() && BEGUN.compareAndSet(false, true)) {
                tell("first");
            }
            var sum = sum(input.records());
            checkpoint(() -> input.checkpointer().checkpoint());
            count(input.records().size(), sum);
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            tell("shards " + SHARDS.decrementAndGet());
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
        }
    }

    private static long sum(List<KinesisClientRecord> records) {
        var sum = 0L;
        for (var record : records) {
            ByteBuffer data = record.data();
            for (var at = data.position(); at < data.limit(); at++) {
                sum += data.get(at) & 0xFF;
            }
        }
        return sum;
    }

    private static void count(int records, long sum) {
        SUM.addAndGet(sum);
        var now = RECORDS.addAndGet(records);
        if (records > 0 && now >= wanted && now - records < wanted) {
            tell("done " + now + " " + SUM);
        }
    }

    private static void checkpoint(Checkpoint checkpoint) {
        try {
            checkpoint.make();
        } catch (ShutdownException lost) {
            lost.printStackTrace();
        } catch (InvalidStateException error) {
            throw new IllegalStateException(error);
        }
    }

    private interface Checkpoint {
        void make() throws InvalidStateException, ShutdownException;
    }

    private static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
