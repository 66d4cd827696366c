// A reader of a stream by harlow/kinesis-consumer, from the oldest record on. Prints each record as a line of JSON, until its
// input ends. Arguments: stream and mode.
//
//	default     as the library delivers them by default
//	aggregated  with its own deaggregation
//	stopped     the same, stopped after some records of each shard and started again from its checkpoints
//	opened      as by default, opened by UserRecords, which compares hash keys with those of the shard
//	unfiltered  the same without hash keys, as where the consumer does not say of which shard a record is
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"os"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	consumer "github.com/harlow/kinesis-consumer"
)

// Number of records after which a shard's reader stops.
const stopAfter = 777

type hashKeys struct{ first, last *big.Int }

func main() {
	stream, mode := os.Args[1], os.Args[2]
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	checkpoints := &memory{of: map[string]string{}}
	if mode == "stopped" {
		scan(ctx, stream, mode, checkpoints, stopAfter)
	}
	scan(ctx, stream, mode, checkpoints, 0)
}

// Reads until the context ends or, if there is a limit, until a shard has given as many records.
func scan(ctx context.Context, stream, mode string, checkpoints *memory, limit int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shards := list(ctx, stream)
	reader, err := consumer.New(stream,
		consumer.WithShardIteratorType("TRIM_HORIZON"),
		consumer.WithAggregation(mode == "aggregated" || mode == "stopped"),
		consumer.WithStore(checkpoints))
	check(err)
	output, mutex, read := json.NewEncoder(os.Stdout), sync.Mutex{}, map[string]int{}
	check(reader.Scan(ctx, func(record *consumer.Record) error {
		mutex.Lock()
		defer mutex.Unlock()
		key, keys := aws.ToString(record.PartitionKey), hashKeys{}
		found := []UserRecord{{key, record.Data}}
		switch mode {
		case "opened":
			keys = shards[record.ShardID]
			fallthrough
		case "unfiltered":
			found = UserRecords(key, record.Data, keys.first, keys.last)
		}
		for _, one := range found {
			check(output.Encode(map[string]any{"shard": record.ShardID, "key": one.Key, "data": one.Data}))
		}
		read[record.ShardID]++
		if read[record.ShardID] == limit {
			cancel()
		}
		return nil
	}))
}

// Hash keys of all shards.
func list(ctx context.Context, stream string) map[string]hashKeys {
	settings, err := config.LoadDefaultConfig(ctx)
	check(err)
	answer, err := kinesis.NewFromConfig(settings).ListShards(ctx, &kinesis.ListShardsInput{StreamName: &stream})
	check(err)
	shards := map[string]hashKeys{}
	for _, shard := range answer.Shards {
		first, _ := new(big.Int).SetString(*shard.HashKeyRange.StartingHashKey, 10)
		last, _ := new(big.Int).SetString(*shard.HashKeyRange.EndingHashKey, 10)
		shards[*shard.ShardId] = hashKeys{first, last}
	}
	return shards
}

// Checkpoints, which outlive a scan.
type memory struct {
	mutex sync.Mutex
	of    map[string]string
}

func (m *memory) GetCheckpoint(_, shard string) (string, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.of[shard], nil
}

func (m *memory) SetCheckpoint(_, shard, sequenceNumber string) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of[shard] = sequenceNumber
	return nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
