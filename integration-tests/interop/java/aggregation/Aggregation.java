// Reads cases from its input, decodes and compares each with Amazon's aggregation modules for Java, which use KCL 1.x, and
// prints the case as they encode it. The format of a case is described in kpl/examples/aggregation_cases.rs.

import com.amazonaws.kinesis.agg.AggRecord;
import com.amazonaws.kinesis.deagg.RecordDeaggregator;
import com.amazonaws.services.kinesis.clientlibrary.types.UserRecord;
import com.amazonaws.services.lambda.runtime.events.KinesisEvent;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

public final class Aggregation {
    /** Bytes of the longest partition key that the module takes. */
    private static final int LONGEST = 256;

    /** Partition key, explicit hash key or null, and data in hexadecimal digits. */
    private record Put(String key, String hashKey, String data) {}

    public static void main(String[] args) throws Exception {
        var cases = 0;
        var encoded = 0;
        var out = new StringBuilder();
        try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (var line = in.readLine(); line != null; line = in.readLine()) {
                var parts = line.split("\t");
                var expected = parse(parts[1]);
                cases++;
                var found = decode(HexFormat.of().parseHex(parts[0]));
                if (!found.equals(expected)) {
                    throw new AssertionError("case " + cases + ": " + found + " is decoded, " + expected + " was put");
                }
                var aggregate = encode(expected);
                if (aggregate != null) {
                    encoded++;
                    out.append(HexFormat.of().formatHex(aggregate)).append('\t').append(written(expected)).append('\n');
                }
            }
        }
        if (encoded <= cases / 4) {
            throw new AssertionError("only " + encoded + " of " + cases + " cases can be encoded");
        }
        System.out.print(out);
        System.out.flush();
        System.err.println("aggregation for Java decodes " + cases + " cases alike and encodes " + encoded);
    }

    private static List<Put> parse(String text) {
        var records = new ArrayList<Put>();
        for (var record : text.split(",")) {
            var parts = record.split(":", -1);
            var key = new String(HexFormat.of().parseHex(parts[0]), StandardCharsets.UTF_8);
            records.add(new Put(key, parts[1].isEmpty() ? null : parts[1], parts[2]));
        }
        return records;
    }

    private static List<Put> decode(byte[] aggregate) {
        var record = new KinesisEvent.Record();
        record.setSequenceNumber("1");
        record.setPartitionKey("a");
        record.setData(ByteBuffer.wrap(aggregate));
        var event = new KinesisEvent.KinesisEventRecord();
        event.setKinesis(record);
        var found = new ArrayList<Put>();
        for (UserRecord user : RecordDeaggregator.deaggregate(event)) {
            if (!user.isAggregated()) {
                throw new AssertionError("taken for a plain record");
            }
            var data = new byte[user.getData().remaining()];
            user.getData().duplicate().get(data);
            found.add(new Put(user.getPartitionKey(), user.getExplicitHashKey(), HexFormat.of().formatHex(data)));
        }
        return found;
    }

    /** Null if a key is too long for the module, which counts bytes, or if all would not fit into one of its records. */
    private static byte[] encode(List<Put> records) {
        var aggregate = new AggRecord();
        for (var record : records) {
            if (record.key.getBytes(StandardCharsets.UTF_8).length > LONGEST
                    || !aggregate.addUserRecord(record.key, record.hashKey, HexFormat.of().parseHex(record.data))) {
                return null;
            }
        }
        return aggregate.toRecordBytes();
    }

    /** The records as the module writes them: each with an explicit hash key, that of its partition key if none was given. */
    private static String written(List<Put> records) throws NoSuchAlgorithmException {
        var written = new StringBuilder();
        for (var record : records) {
            var key = record.key.getBytes(StandardCharsets.UTF_8);
            var ofKey = new BigInteger(1, MessageDigest.getInstance("MD5").digest(key)).toString();
            written.append(written.isEmpty() ? "" : ",").append(HexFormat.of().formatHex(key)).append(':');
            written.append(record.hashKey == null ? ofKey : record.hashKey).append(':').append(record.data);
        }
        return written.toString();
    }
}
