//! The table of the producer's metrics. Source: `docs/metrics.md` of `awslabs/amazon-kinesis-producer`.

use crate::metric::{Samples, declare_metrics};

const STREAM: &[&str] = &["StreamName"];
const SHARD: &[&str] = &["StreamName", "ShardId"];
const CODE: &[&str] = &["ErrorCode", "StreamName", "ShardId"];

const ONES: Samples = Samples::Ones { zeros: None };
const USER_RECORDS: &[&str] = &["UserRecordsPut", "UserRecordsFailed"];
const OF_USER_RECORDS: Samples = Samples::Counted { sum: "UserRecordRetries", counts: USER_RECORDS };
const OF_STORED: Samples = Samples::Counted { sum: "UserRecordsDataPut", counts: &["UserRecordsPut"] };

declare_metrics! { "kpl";
    USER_RECORDS_RECEIVED = None, "UserRecordsReceived", Counter Count Detailed Java, STREAM, ONES,
        "user records that were accepted";
    USER_RECORDS_PENDING = None, "UserRecordsPending", Gauge Count Detailed Java, STREAM, Samples::Recorded,
        "user records that are accepted and not resolved";
    USER_RECORDS_PUT = None, "UserRecordsPut", Counter Count Summary Java, SHARD,
        Samples::Ones { zeros: Some("UserRecordsFailed") },
        "user records that were stored";
    USER_RECORDS_FAILED = None, "UserRecordsFailed", Counter Count Summary Ours, SHARD, Samples::Part,
        "user records that were given up";
    USER_RECORDS_DATA_PUT = None, "UserRecordsDataPut", Counter Bytes Detailed Java, SHARD, OF_STORED,
        "data of the user records that were stored";
    USER_RECORD_EXPIRED = None, "UserRecordExpired", Counter Count Summary Java, SHARD, ONES,
        "user records that were given up at the end of their time to live";
    USER_RECORD_RETRIES = None, "UserRecordRetries", Counter Count Detailed Ours, SHARD, Samples::Part,
        "attempts after the first one, of all user records that were stored or given up";
    RETRIES_PER_RECORD = None, "RetriesPerRecord", Histogram Count Detailed Java, SHARD, OF_USER_RECORDS,
        "attempts after the first one, of the user records of each Kinesis record";
    KINESIS_RECORDS_PUT = None, "KinesisRecordsPut", Counter Count Summary Java, SHARD,
        Samples::Ones { zeros: Some("KinesisRecordsFailed") },
        "Kinesis records that were stored";
    KINESIS_RECORDS_FAILED = None, "KinesisRecordsFailed", Counter Count Summary Ours, SHARD, Samples::Part,
        "Kinesis records whose attempt was refused";
    KINESIS_RECORDS_DATA_PUT = None, "KinesisRecordsDataPut", Counter Bytes Detailed Java, SHARD, Samples::Recorded,
        "data of the Kinesis records that were stored";
    ERRORS_BY_CODE = None, "ErrorsByCode", Counter Count Summary Java, CODE, ONES,
        "Kinesis records, and requests as a whole, that failed, by error code";
    ALL_ERRORS = None, "AllErrors", Counter Count Summary Java, SHARD, Samples::Ones { zeros: Some("KinesisRecordsPut") },
        "Kinesis records, and requests as a whole, that failed";
    BUFFERING_TIME = None, "BufferingTime", Histogram Milliseconds Summary Java, SHARD, Samples::Recorded,
        "time that a Kinesis record's first user record waited for an attempt";
    REQUEST_TIME = None, "RequestTime", Histogram Milliseconds Detailed Java, STREAM, Samples::Recorded,
        "time that PutRecords took";
    USER_RECORDS_PER_KINESIS_RECORD = None, "UserRecordsPerKinesisRecord", Histogram Count Detailed Java, SHARD,
        Samples::Recorded,
        "user records of each Kinesis record sent";
    KINESIS_RECORDS_PER_REQUEST = None, "KinesisRecordsPerPutRecordsRequest", Histogram Count Detailed Java, STREAM,
        Samples::Recorded,
        "Kinesis records of each request";
    USER_RECORDS_PER_REQUEST = None, "UserRecordsPerPutRecordsRequest", Histogram Count Detailed Java, STREAM,
        Samples::Recorded,
        "user records of each request";
}
