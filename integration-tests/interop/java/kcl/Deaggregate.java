// Reads cases from its input, and decodes and compares each with the KCL. The format of a case is described in
// kpl/examples/aggregation_cases.rs; `plain` stands for a record that is not taken for an aggregate, and
// `error` for one that the KCL cannot get past.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

public final class Deaggregate {
    public static void main(String[] args) throws Exception {
        var cases = 0;
        try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (var line = in.readLine(); line != null; line = in.readLine()) {
                var parts = line.split("\t", -1);
                var found = decode(HexFormat.of().parseHex(parts[0]));
                cases++;
                if (!found.equals(parts[1])) {
                    throw new AssertionError("case " + cases + ": " + found + " is decoded of " + line);
                }
            }
        }
        System.err.println("KCL for Java decodes " + cases + " cases alike");
        if (cases == 0) {
            throw new AssertionError("no cases");
        }
    }

    private static String decode(byte[] aggregate) {
        var record = KinesisClientRecord.builder()
                .sequenceNumber("1").partitionKey("a").data(ByteBuffer.wrap(aggregate)).build();
        List<KinesisClientRecord> found;
        try {
            found = new AggregatorUtil().deaggregate(List.of(record));
        } catch (LinkageError error) {
            // To log what is wrong with an aggregate it wants a class that Java has not had since version 11.
            return "error";
        }
        if (found.size() == 1 && !found.get(0).aggregated()) {
            return "plain";
        }
        return found.stream().map(Deaggregate::shown).collect(Collectors.joining(","));
    }

    private static String shown(KinesisClientRecord record) {
        var data = new byte[record.data().remaining()];
        record.data().duplicate().get(data);
        var key = HexFormat.of().formatHex(record.partitionKey().getBytes(StandardCharsets.UTF_8));
        var hashKey = record.explicitHashKey() == null ? "" : record.explicitHashKey();
        return key + ":" + hashKey + ":" + HexFormat.of().formatHex(data);
    }
}
