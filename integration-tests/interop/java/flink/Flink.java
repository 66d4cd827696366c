// Jobs of Flink. `read STREAM-ARN OTHER-ARN`: three readers, each record of which is printed as a line of JSON, until the input
// ends: FlinkKinesisConsumer of a stream; of the other KinesisStreamsSource, by itself and with OpenAggregates of
// docs/who-reads-what.md, which gives no keys. `write STREAM-ARN`: KinesisStreamsSink, of the records on the input, a line each:
// partition key and data, separated by a tab.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kinesis.sink.KinesisStreamsSink;
import org.apache.flink.connector.kinesis.source.KinesisStreamsSource;
import org.apache.flink.connector.kinesis.source.serialization.KinesisDeserializationSchema;
import org.apache.flink.kinesis.shaded.software.amazon.awssdk.services.kinesis.model.Record;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.SinkFunction;
import org.apache.flink.streaming.api.functions.source.SourceFunction;
import org.apache.flink.streaming.connectors.kinesis.FlinkKinesisConsumer;
import org.apache.flink.util.Collector;

public final class Flink {
    public static void main(String[] args) throws Exception {
        var flink = StreamExecutionEnvironment.createLocalEnvironment(2);
        if (args[0].equals("write")) {
            write(flink, args[1]);
            flink.execute("write");
        } else {
            read(flink, args[1], args[2]);
            flink.executeAsync("read");
            System.in.transferTo(OutputStream.nullOutputStream());
        }
        System.exit(0);
    }

    private static void read(StreamExecutionEnvironment flink, String split, String whole) {
        var settings = aws();
        settings.setProperty("flink.stream.initpos", "TRIM_HORIZON");
        print("consumer", flink.addSource(
                new FlinkKinesisConsumer<>(split.substring(split.indexOf('/') + 1), new ByConsumer(), settings)));
        var configuration = new Configuration();
        settings.forEach((name, value) -> configuration.setString((String) name, (String) value));
        print("source", flink.fromSource(KinesisStreamsSource.<String>builder().setStreamArn(whole).setSourceConfig(configuration)
                .setDeserializationSchema(new BySource()).build(), WatermarkStrategy.noWatermarks(), "source", Types.STRING));
        print("opened", flink.fromSource(KinesisStreamsSource.<String>builder().setStreamArn(whole).setSourceConfig(configuration)
                .setDeserializationSchema(new OpenAggregates<>(new SimpleStringSchema())).build(),
                WatermarkStrategy.noWatermarks(), "opened", Types.STRING)
                .map(data -> line("", data.getBytes(StandardCharsets.UTF_8))));
    }

    private static void write(StreamExecutionEnvironment flink, String arn) {
        flink.addSource(new Lines()).sinkTo(KinesisStreamsSink.<String>builder().setStreamArn(arn)
                .setKinesisClientProperties(aws())
                .setSerializationSchema((SerializationSchema<String>)
                        line -> line.split("\t", 2)[1].getBytes(StandardCharsets.UTF_8))
                .setPartitionKeyGenerator(line -> line.split("\t", 2)[0]).build());
    }

    private static Properties aws() {
        var settings = new Properties();
        settings.setProperty("aws.region", System.getenv("AWS_REGION"));
        settings.setProperty("aws.endpoint", System.getenv("AWS_ENDPOINT_URL_KINESIS"));
        settings.setProperty("aws.http.protocol.version", "HTTP1_1");
        return settings;
    }

    private static void print(String reader, DataStream<String> lines) {
        lines.addSink(new SinkFunction<String>() {
            @Override
            public void invoke(String line, Context context) {
                System.out.println("{\"reader\":\"" + reader + "\"," + line + "}");
            }
        });
    }

    private static String line(String key, byte[] data) {
        return "\"key\":\"" + key + "\",\"data\":\"" + Base64.getEncoder().encodeToString(data) + "\"";
    }

    private static final class ByConsumer
            implements org.apache.flink.streaming.connectors.kinesis.serialization.KinesisDeserializationSchema<String> {
        @Override
        public String deserialize(byte[] data, String key, String number, long arrival, String stream, String shard) {
            return line(key, data);
        }

        @Override
        public TypeInformation<String> getProducedType() {
            return Types.STRING;
        }
    }

    private static final class BySource implements KinesisDeserializationSchema<String> {
        @Override
        public void deserialize(Record record, String stream, String shard, Collector<String> output) {
            output.collect(line(record.partitionKey(), record.data().asByteArray()));
        }

        @Override
        public TypeInformation<String> getProducedType() {
            return Types.STRING;
        }
    }

    /** Lines of the input. */
    private static final class Lines implements SourceFunction<String> {
        private volatile boolean cancelled;

        @Override
        public void run(SourceContext<String> context) throws Exception {
            var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (var line = in.readLine(); line != null && !cancelled; line = in.readLine()) {
                context.collect(line);
            }
        }

        @Override
        public void cancel() {
            cancelled = true;
        }
    }
}
