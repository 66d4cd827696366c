// Reads compressed records from its input and opens them with the reader of docs/compressed-records.md. A line is described in
// kpl/examples/aggregation_cases.rs.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeSet;

public final class Compressed {
    private static final int MAX_BYTES = 10 * 1024 * 1024;

    public static void main(String[] args) throws Exception {
        var kinds = new TreeSet<String>();
        var opened = 0;
        var refused = 0;
        try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (var line = in.readLine(); line != null; line = in.readLine()) {
                var parts = line.split("\t", -1);
                var frame = HexFormat.of().parseHex(parts[0]);
                var dictionaries = dictionaries(HexFormat.of().parseHex(parts[2]));
                if (parts[1].equals("damaged")) {
                    refuses(frame, dictionaries);
                    refused++;
                    continue;
                }
                var content = HexFormat.of().formatHex(CompressedRecord.open(frame, dictionaries, MAX_BYTES));
                if (!content.equals(parts[1])) {
                    throw new AssertionError("line " + (opened + refused + 1) + " is opened to " + content);
                }
                kinds.add(frame[5] + " " + !dictionaries.isEmpty());
                opened++;
            }
        }
        if (!kinds.toString().equals("[1 false, 2 false, 3 false, 3 true]") || opened != refused) {
            throw new AssertionError(kinds + ", " + opened + " opened, " + refused + " refused");
        }
        System.err.println("the reader in Java opens " + opened + " frames and refuses as many damaged ones");
    }

    private static Map<Integer, byte[]> dictionaries(byte[] dictionary) {
        if (dictionary.length == 0) {
            return Map.of();
        }
        return Map.of(ByteBuffer.wrap(dictionary).order(ByteOrder.LITTLE_ENDIAN).getInt(4), dictionary);
    }

    private static void refuses(byte[] frame, Map<Integer, byte[]> dictionaries) {
        try {
            CompressedRecord.open(frame, dictionaries, MAX_BYTES);
        } catch (IOException expected) {
            return;
        }
        throw new AssertionError("damage is not noticed");
    }
}
