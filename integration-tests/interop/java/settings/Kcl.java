// Prints the settings of the KCL for Java with their defaults, as its builder makes them for one stream.

import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

final class Kcl {
    public static void main(String[] args) throws Exception {
        var kinesis = Fields.given(KinesisAsyncClient.class);
        var configs = new ConfigsBuilder("the stream", "the application", kinesis, Fields.given(DynamoDbAsyncClient.class),
                Fields.given(CloudWatchAsyncClient.class), "the worker", Fields.given(ShardRecordProcessorFactory.class));
        Fields.print(configs.checkpointConfig(), configs.coordinatorConfig(), configs.leaseManagementConfig(),
                configs.lifecycleConfig(), configs.metricsConfig(), configs.processorConfig(), configs.retrievalConfig(),
                new PollingConfig(kinesis), new FanOutConfig(kinesis));
    }
}
