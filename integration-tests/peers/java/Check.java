// Uses the served Kinesis with the AWS SDK for Java as applications do: create, put, read, split, read the children,
// subscribe. Bodies are CBOR, subscriptions HTTP/2. The environment says where it is, as `kinesis-local` prints it.

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ChildShard;
import software.amazon.awssdk.services.kinesis.model.ConsumerStatus;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.ShardFilterType;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

public final class Check {
    private static final String STREAM = "java-check";
    private static final String HALF = BigInteger.TWO.pow(127).toString();
    private static final List<String> SHARDS =
            Stream.of(0, 1, 2).map(n -> String.format("shardId-%012d", n)).toList();

    /** Records of a shard, and its children; there are none as long as it has not ended. */
    private record Reading(List<String> data, List<String> children) {}

    public static void main(String[] args) throws Exception {
        try (var kinesis = KinesisClient.create();
                var async = KinesisAsyncClient.create()) {
            new Check(kinesis, async).run();
        }
    }

    private final KinesisClient kinesis;
    private final KinesisAsyncClient async;

    private Check(KinesisClient kinesis, KinesisAsyncClient async) {
        this.kinesis = kinesis;
        this.async = async;
    }

    private void run() throws Exception {
        kinesis.createStream(b -> b.streamName(STREAM).shardCount(1));
        kinesis.waiter().waitUntilStreamExists(b -> b.streamName(STREAM));
        var summary = kinesis.describeStreamSummary(b -> b.streamName(STREAM)).streamDescriptionSummary();
        expect("status", summary.streamStatusAsString(), "ACTIVE");

        var put = kinesis.putRecord(b -> b.streamName(STREAM).partitionKey("a").data(bytes("one")));
        expect("shard of a record", put.shardId(), SHARDS.get(0));
        var entries = Stream.of("two", "three")
                .map(data -> PutRecordsRequestEntry.builder().partitionKey(data).data(bytes(data)).build())
                .toList();
        var puts = kinesis.putRecords(b -> b.streamARN(summary.streamARN()).records(entries));
        expect("failed records", puts.failedRecordCount(), 0);
        var before = List.of("one", "two", "three");
        expect("records", read(SHARDS.get(0)), new Reading(before, List.of()));

        kinesis.splitShard(b -> b.streamName(STREAM).shardToSplit(SHARDS.get(0)).newStartingHashKey(HALF));
        waitFor("the shard is split", () -> kinesis.listShards(b -> b.streamName(STREAM)
                .shardFilter(filter -> filter.type(ShardFilterType.AT_LATEST))).shards().size() == 2);
        var ended = new Reading(before, SHARDS.subList(1, 3));
        expect("records and children of the parent", read(SHARDS.get(0)), ended);
        kinesis.putRecord(b -> b.streamName(STREAM).partitionKey("d").explicitHashKey(HALF).data(bytes("four")));
        expect("records of the upper child", read(SHARDS.get(2)), new Reading(List.of("four"), List.of()));

        expect("subscription to the parent", subscribe(summary.streamARN(), SHARDS.get(0)), ended);

        try {
            kinesis.describeStream(b -> b.streamName("missing"));
            throw new AssertionError("a missing stream is found");
        } catch (ResourceNotFoundException error) {
            expect("a missing stream is named", error.getMessage().contains("missing"), true);
        }
        kinesis.deleteStream(b -> b.streamName(STREAM).enforceConsumerDeletion(true));
    }

    private Reading read(String shardId) {
        var iterator = kinesis.getShardIterator(b -> b.streamName(STREAM).shardId(shardId)
                .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).shardIterator();
        var data = new ArrayList<String>();
        while (true) {
            var position = iterator;
            var answer = kinesis.getRecords(b -> b.shardIterator(position));
            answer.records().forEach(record -> data.add(text(record)));
            iterator = answer.nextShardIterator();
            if (iterator == null || answer.records().isEmpty()) {
                return new Reading(data, answer.childShards().stream().map(ChildShard::shardId).toList());
            }
        }
    }

    /** Subscribes to a closed shard until it ends. */
    private Reading subscribe(String streamArn, String shardId) throws Exception {
        var arn = kinesis.registerStreamConsumer(b -> b.streamARN(streamArn).consumerName("of-" + shardId))
                .consumer().consumerARN();
        waitFor("the consumer is ACTIVE", () -> kinesis.describeStreamConsumer(b -> b.consumerARN(arn))
                .consumerDescription().consumerStatus() == ConsumerStatus.ACTIVE);
        var data = new ArrayList<String>();
        var children = new ArrayList<String>();
        var handler = SubscribeToShardResponseHandler.builder().subscriber(event -> {
            if (event instanceof SubscribeToShardEvent told) {
                told.records().forEach(record -> data.add(text(record)));
                told.childShards().forEach(child -> children.add(child.shardId()));
            }
        }).build();
        async.subscribeToShard(b -> b.consumerARN(arn).shardId(shardId)
                .startingPosition(position -> position.type(ShardIteratorType.TRIM_HORIZON)), handler)
                .get(20, TimeUnit.SECONDS);
        return new Reading(data, children);
    }

    private static void waitFor(String what, BooleanSupplier condition) throws InterruptedException {
        var deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not within 20 seconds: " + what);
            }
            Thread.sleep(20);
        }
    }

    private static void expect(String what, Object got, Object want) {
        if (!got.equals(want)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
        System.out.println("ok " + what);
    }

    private static SdkBytes bytes(String text) {
        return SdkBytes.fromUtf8String(text);
    }

    private static String text(Record record) {
        return record.data().asUtf8String();
    }
}
