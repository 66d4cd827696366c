// The KPL for Java as it publishes metrics: puts so many records of 100 B a second for so many seconds, with all metrics of all
// granularities, its default. Arguments: stream, host, port of Kinesis, port of CloudWatch, records a second, seconds. Prints
// `done RECORDS` when all are stored and the last metrics are published; ends when its input does.

import java.nio.ByteBuffer;
import java.util.Arrays;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;

public final class PublishingProducer {
    private static final int KEYS = 10_000;
    /** Time within which the KPL publishes what was recorded last, by its interval of a minute. */
    private static final long LAST_MILLIS = 70_000;

    public static void main(String[] args) throws Exception {
        var kinesisPort = Long.parseLong(args[2]);
        var producer = new KinesisProducer(new KinesisProducerConfiguration()
                .setKinesisEndpoint(args[1])
                .setKinesisPort(kinesisPort)
                .setCloudwatchEndpoint(args[1])
                .setCloudwatchPort(Long.parseLong(args[3]))
                .setStsEndpoint(args[1])
                .setStsPort(kinesisPort)
                .setVerifyCertificate(false)
                .setMetricsLevel("detailed")
                .setMetricsGranularity("shard")
                .setRegion("us-east-1")
                .setCredentialsProvider(EnvironmentVariableCredentialsProvider.create()));
        var data = new byte[100];
        Arrays.fill(data, (byte) 'x');
        var perSecond = Integer.parseInt(args[4]);
        var records = perSecond * Integer.parseInt(args[5]);
        var begun = System.nanoTime();
        for (var n = 0; n < records; n++) {
            var due = begun + n * 1_000_000_000L / perSecond;
            Thread.sleep(Math.max(0, (due - System.nanoTime()) / 1_000_000));
            producer.addUserRecord(args[0], "key-" + n % KEYS, ByteBuffer.wrap(data));
        }
        producer.flushSync();
        Thread.sleep(LAST_MILLIS);
        System.out.println("done " + records);
        System.out.flush();
        while (System.in.read() >= 0) {
            // Its metrics are read now.
        }
        producer.destroy();
        System.exit(0);
    }
}
