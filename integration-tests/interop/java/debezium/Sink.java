// The Kinesis sink of Debezium Server. Each line of its input is an event: partition key and value, separated by a tab. Argument:
// the stream. In the sink's package, since the methods that a server calls on it are not public.

package io.debezium.server.kinesis;

import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine.Offsets;
import io.debezium.engine.DebeziumEngine.RecordCommitter;
import jakarta.enterprise.inject.Instance;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisClient;

public final class Sink {
    /** Events of a batch, as by Debezium's default of max.batch.size. */
    private static final int BATCH = 2_048;

    public static void main(String[] args) throws Exception {
        var sink = new KinesisChangeConsumer();
        sink.nullKey = "default";
        sink.customClient = client();
        sink.connect();
        var processed = new Processed();
        try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            List<ChangeEvent<Object, Object>> batch = new ArrayList<>();
            for (var line = in.readLine(); line != null; line = in.readLine()) {
                var event = line.split("\t", 2);
                batch.add(new Event(event[0], event[1], args[0]));
                if (batch.size() == BATCH) {
                    sink.handleBatch(batch, processed);
                    batch.clear();
                }
            }
            sink.handleBatch(batch, processed);
        }
        System.err.println("stored " + processed.events + " events in " + processed.batches + " batches");
        sink.close();
    }

    /** A client as an application of Debezium Server may give one, which spares the server's configuration. */
    @SuppressWarnings("unchecked")
    private static Instance<KinesisClient> client() {
        var endpoint = URI.create(System.getenv("AWS_ENDPOINT_URL_KINESIS"));
        var client = KinesisClient.builder().region(Region.of(System.getenv("AWS_REGION"))).endpointOverride(endpoint).build();
        return (Instance<KinesisClient>) Proxy.newProxyInstance(Sink.class.getClassLoader(), new Class<?>[] {Instance.class},
                (instance, method, arguments) -> method.getName().equals("isResolvable") ? true : client);
    }

    private record Event(Object key, Object value, String destination) implements ChangeEvent<Object, Object> {
        @Override
        public Integer partition() {
            return null;
        }
    }

    private static final class Processed implements RecordCommitter<ChangeEvent<Object, Object>> {
        private int events;
        private int batches;

        @Override
        public void markProcessed(ChangeEvent<Object, Object> event) {
            events++;
        }

        @Override
        public void markBatchFinished() {
            batches++;
        }

        @Override
        public void markProcessed(ChangeEvent<Object, Object> event, Offsets offsets) {
            markProcessed(event);
        }

        @Override
        public Offsets buildOffsets() {
            return null;
        }
    }
}
