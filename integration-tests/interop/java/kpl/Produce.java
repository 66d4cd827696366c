// Puts user records through the KPL for Java. Each line of its input is a record: a number, the partition key, the
// explicit hash key or `-`, and the data, separated by blanks, key and data in hexadecimal digits. Arguments: stream,
// host and port of Kinesis. Prints lines of JSON: each record that could not be stored, and at the end what became of all.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordFailedException;
import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.MoreExecutors;
import software.amazon.kinesis.producer.UserRecordResult;

public final class Produce {
    /** Records on their way at a time. */
    private static final int OUTSTANDING = 5_000;

    public static void main(String[] args) throws Exception {
        var stream = args[0];
        var config = new KinesisProducerConfiguration()
                .setKinesisEndpoint(args[1])
                .setKinesisPort(Long.parseLong(args[2]))
                .setCloudwatchEndpoint(args[1])
                .setCloudwatchPort(Long.parseLong(args[2]))
                .setStsEndpoint(args[1])
                .setStsPort(Long.parseLong(args[2]))
                .setVerifyCertificate(false)
                .setMetricsLevel("none")
                .setRegion("us-east-1")
                .setRecordTtl(120_000)
                .setCredentialsProvider(EnvironmentVariableCredentialsProvider.create());
        var producer = new KinesisProducer(config);
        var room = new Semaphore(OUTSTANDING);
        var stored = new AtomicLong();
        var failed = new AtomicLong();
        try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (var line = in.readLine(); line != null; line = in.readLine()) {
                var parts = line.split(" ");
                var key = new String(HexFormat.of().parseHex(parts[1]), StandardCharsets.UTF_8);
                var hashKey = parts[2].equals("-") ? null : parts[2];
                room.acquire();
                var put = producer.addUserRecord(stream, key, hashKey, ByteBuffer.wrap(HexFormat.of().parseHex(parts[3])));
                Futures.addCallback(put, new FutureCallback<UserRecordResult>() {
                    @Override
                    public void onSuccess(UserRecordResult result) {
                        stored.incrementAndGet();
                        room.release();
                    }

                    @Override
                    public void onFailure(Throwable error) {
                        failed.incrementAndGet();
                        tell("failed", "\"id\":" + parts[0] + ",\"error\":\"" + cause(error) + "\"");
                        room.release();
                    }
                }, MoreExecutors.directExecutor());
            }
        }
        producer.flush();
        room.acquire(OUTSTANDING);
        tell("done", "\"stored\":" + stored + ",\"failed\":" + failed);
        producer.destroy();
        System.exit(0);
    }

    private static String cause(Throwable error) {
        if (error instanceof UserRecordFailedException refused) {
            var attempts = refused.getResult().getAttempts();
            return attempts.get(attempts.size() - 1).getErrorCode();
        }
        return error.getClass().getSimpleName();
    }

    private static synchronized void tell(String event, String fields) {
        System.out.println("{\"event\":\"" + event + "\"," + fields + "}");
        System.out.flush();
    }
}
