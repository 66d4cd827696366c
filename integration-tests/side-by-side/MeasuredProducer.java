// The KPL for Java under measurement: puts numbered records with default settings, and waits for each at a distance.
// Arguments: stream, host and port of Kinesis, records, bytes of a record, `aggregated` or `plain`. Prints `first` when the
// first record is stored, `done RECORDS` when all are; ends when its input does. The first eight bytes of a record are its
// number, the others are 'x'; the partition keys are key-0 to key-9999 in turn.

import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.MoreExecutors;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordResult;

public final class MeasuredProducer {
    /** Records that are not stored yet, at a time. */
    private static final int WINDOW = 20_000;
    private static final int KEYS = 10_000;

    public static void main(String[] args) throws Exception {
        var stream = args[0];
        var records = Integer.parseInt(args[3]);
        var bytes = Integer.parseInt(args[4]);
        var producer = new KinesisProducer(configuration(args[1], Long.parseLong(args[2]), args[5].equals("aggregated")));
        var keys = IntStream.range(0, KEYS).mapToObj(n -> "key-" + n).toArray(String[]::new);
        var room = new Semaphore(WINDOW);
        var stored = new AtomicLong();
        var outcome = new FutureCallback<UserRecordResult>() {
            @Override
            public void onSuccess(UserRecordResult result) {
                if (stored.incrementAndGet() == 1) {
                    tell("first");
                }
                room.release();
            }

            @Override
            public void onFailure(Throwable error) {
                error.printStackTrace();
                room.release();
            }
        };
        for (var n = 0; n < records; n++) {
            var data = ByteBuffer.wrap(record(n, bytes));
            room.acquire();
            var put = producer.addUserRecord(stream, keys[n % KEYS], data);
            Futures.addCallback(put, outcome, MoreExecutors.directExecutor());
        }
        producer.flush();
        room.acquire(WINDOW);
        tell("done " + stored);
        while (System.in.read() >= 0) {
            // Its CPU time and memory are read now.
        }
        producer.destroy();
        System.exit(0);
    }

    private static KinesisProducerConfiguration configuration(String host, long port, boolean aggregated) {
        return new KinesisProducerConfiguration()
                .setKinesisEndpoint(host)
                .setKinesisPort(port)
                .setCloudwatchEndpoint(host)
                .setCloudwatchPort(port)
                .setStsEndpoint(host)
                .setStsPort(port)
                .setVerifyCertificate(false)
                .setMetricsLevel("none")
                .setRegion("us-east-1")
                .setAggregationEnabled(aggregated)
                .setCredentialsProvider(EnvironmentVariableCredentialsProvider.create());
    }

    private static byte[] record(int number, int bytes) {
        var data = new byte[bytes];
        Arrays.fill(data, (byte) 'x');
        ByteBuffer.wrap(data).putLong(number);
        return data;
    }

    private static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
