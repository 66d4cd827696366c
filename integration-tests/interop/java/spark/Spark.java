// A reader of a stream by Spark Streaming's Kinesis receiver, from the oldest record on. Prints each record as a line of JSON, until
// its input ends. Arguments: stream, and the name of the application and its lease table.
//
// The receiver has no setting for the endpoint of DynamoDB: the property com.amazonaws.regions.RegionUtils.fileOverride names it.

import com.amazonaws.services.kinesis.metrics.interfaces.MetricsLevel;
import com.amazonaws.services.kinesis.model.Record;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.Base64;
import org.apache.spark.SparkConf;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.streaming.Durations;
import org.apache.spark.streaming.api.java.JavaDStream;
import org.apache.spark.streaming.api.java.JavaStreamingContext;
import org.apache.spark.streaming.kinesis.KinesisInitialPositions;
import org.apache.spark.streaming.kinesis.KinesisInputDStream;
import scala.reflect.ClassTag$;
import scala.runtime.AbstractFunction1;

public final class Spark {
    public static void main(String[] args) throws Exception {
        var settings = new SparkConf().setMaster("local[3]").setAppName(args[1])
                .set("spark.ui.enabled", "false")
                .set("spark.driver.host", "127.0.0.1")
                .set("spark.driver.bindAddress", "127.0.0.1");
        var spark = new JavaStreamingContext(settings, Durations.seconds(1));
        var text = ClassTag$.MODULE$.<String>apply(String.class);
        var stream = KinesisInputDStream.builder()
                .streamingContext(spark)
                .streamName(args[0])
                .endpointUrl(System.getenv("AWS_ENDPOINT_URL_KINESIS"))
                .regionName(System.getenv("AWS_REGION"))
                .initialPosition(new KinesisInitialPositions.TrimHorizon())
                .checkpointAppName(args[1])
                .checkpointInterval(Durations.seconds(1))
                .metricsLevel(MetricsLevel.NONE)
                .storageLevel(StorageLevel.MEMORY_ONLY())
                .buildWithMessageHandler(new Line(), text);
        JavaDStream.fromDStream(stream, text).foreachRDD(records -> records.collect().forEach(System.out::println));
        spark.start();
        System.in.transferTo(OutputStream.nullOutputStream());
        spark.stop(true, false);
        System.exit(0);
    }

    private static final class Line extends AbstractFunction1<Record, String> implements Serializable {
        @Override
        public String apply(Record record) {
            var data = new byte[record.getData().remaining()];
            record.getData().duplicate().get(data);
            return "{\"key\":\"" + record.getPartitionKey() + "\",\"data\":\"" + Base64.getEncoder().encodeToString(data) + "\"}";
        }
    }
}
