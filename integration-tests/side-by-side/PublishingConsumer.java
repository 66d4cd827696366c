// A worker of the KCL for Java as it publishes metrics, with default settings, polling: checkpoints each batch. Arguments:
// application, stream, worker. Prints `first` with the first record; shuts down and prints `stopped` when its input ends.
// AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL_CLOUDWATCH say where the services are.

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
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
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public final class PublishingConsumer {
    private static final AtomicBoolean BEGUN = new AtomicBoolean();

    public static void main(String[] args) throws Exception {
        var scheduler = scheduler(args[0], args[1], args[2]);
        new Thread(scheduler, "scheduler").start();
        while (System.in.read() >= 0) {
            // It works meanwhile.
        }
        scheduler.startGracefulShutdown().get(60, TimeUnit.SECONDS);
        tell("stopped");
        System.exit(0);
    }

    private static Scheduler scheduler(String application, String stream, String worker) {
        var kinesis = Clients.client(KinesisAsyncClient.builder(), "AWS_ENDPOINT_URL_KINESIS", Protocol.HTTP2);
        var dynamodb = Clients.client(DynamoDbAsyncClient.builder(), "AWS_ENDPOINT_URL_DYNAMODB", Protocol.HTTP1_1);
        var cloudwatch = Clients.client(CloudWatchAsyncClient.builder(), "AWS_ENDPOINT_URL_CLOUDWATCH", Protocol.HTTP1_1);
        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        var configs = new ConfigsBuilder(new SingleStreamTracker(stream, start), application, kinesis, dynamodb,
                cloudwatch, worker, Processor::new);
        var retrieval = configs.retrievalConfig().retrievalSpecificConfig(new PollingConfig(stream, kinesis));
        return new Scheduler(configs.checkpointConfig(), configs.coordinatorConfig(), configs.leaseManagementConfig(),
                configs.lifecycleConfig(), configs.metricsConfig(), configs.processorConfig(), retrieval);
    }

    private static final class Processor implements ShardRecordProcessor {
        @Override
        public void initialize(InitializationInput input) {
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            if (!input.records().isEmpty() && BEGUN.compareAndSet(false, true)) {
                tell("first");
            }
            checkpoint(input.checkpointer());
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(input.checkpointer());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(input.checkpointer());
        }
    }

    private static void checkpoint(RecordProcessorCheckpointer checkpointer) {
        try {
            checkpointer.checkpoint();
        } catch (ShutdownException lost) {
            lost.printStackTrace();
        } catch (InvalidStateException error) {
            throw new IllegalStateException(error);
        }
    }

    private static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
