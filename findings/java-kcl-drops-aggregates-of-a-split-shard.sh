#!/usr/bin/env bash
# KCL for Java 3.5.1 drops all user records of an aggregate, without a log line at WARN, when one of them belongs to
# another shard.
#
# A producer that aggregates for a shard while that shard is being split writes such aggregates: they are stored in one of
# the children, and some of their user records hash to the other. `AggregatorUtil.deaggregate` is given the range of the
# shard that is read, and returns nothing at all, neither the foreign records nor the shard's own. No exception is thrown.
#
# Seen (Java 17): the lines that this script prints. Fails if the library behaves otherwise. Needs a JDK and Maven.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>0</version>
  <dependencies>
    <dependency>
      <groupId>software.amazon.kinesis</groupId>
      <artifactId>amazon-kinesis-client</artifactId>
      <version>3.5.1</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>2.0.17</version>
    </dependency>
  </dependencies>
</project>
XML
mvn -q -B -f "$work/pom.xml" -DincludeScope=runtime "-DoutputDirectory=$work/lib" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies >"$work/mvn.log" || { cat "$work/mvn.log"; exit 1; }

cat >"$work/Split.java" <<'JAVA'
import com.google.protobuf.ByteString;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.kpl.Messages;

public final class Split {
    public static void main(String[] args) throws Exception {
        var message = Messages.AggregatedRecord.newBuilder();
        // The first half of the hash key space ends below 2^127; the last record belongs to the second half.
        var hashKeys = List.of("1", "2", "340282366920938463463374607431768211455");
        for (var hashKey : hashKeys) {
            var index = message.getRecordsCount();
            message.addPartitionKeyTable("key-" + index).addExplicitHashKeyTable(hashKey);
            message.addRecords(Messages.Record.newBuilder()
                    .setPartitionKeyIndex(index).setExplicitHashKeyIndex(index).setData(ByteString.copyFromUtf8("data")));
        }
        var body = message.build().toByteArray();
        var aggregate = new ByteArrayOutputStream();
        aggregate.write(HexFormat.of().parseHex("f3899ac2"));
        aggregate.write(body);
        aggregate.write(MessageDigest.getInstance("MD5").digest(body));
        System.out.println("whole range: " + delivered(aggregate.toByteArray(), "340282366920938463463374607431768211455"));
        System.out.println("first half: " + delivered(aggregate.toByteArray(), "170141183460469231731687303715884105727"));
    }

    private static int delivered(byte[] aggregate, String endingHashKey) {
        var record = KinesisClientRecord.builder()
                .sequenceNumber("1").partitionKey("key-0").data(ByteBuffer.wrap(aggregate)).build();
        return new AggregatorUtil().deaggregate(List.of(record), "0", endingHashKey).size();
    }
}
JAVA
found=$(java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.logFile=System.out \
    -cp "$work/lib/*" "$work/Split.java")
echo "$found"
[ "$found" = 'whole range: 3
first half: 0' ]
