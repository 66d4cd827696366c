//! The REST proxy over HTTP, in front of the embedded AWS.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use kinesis_local::LocalAws;
use kpl::{ProducerBuilder, aggregated::Deaggregator};
use samples::rest_proxy::{RestProxy, Settings};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

const STREAM: &str = "StockTradeStream";

struct Proxy {
    local: LocalAws,
    address: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Proxy {
    async fn start(settings: Settings, configure: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Self {
        let local = LocalAws::start().await;
        local.create_stream(STREAM, 1).expect("it is new");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (stop, stopped) = oneshot::channel();
        let proxy = RestProxy::new(&local.sdk_config(), &[STREAM.to_owned()], settings, configure);
        let proxy = proxy.expect("settings are right");
        let served = tokio::spawn(async move { proxy.serve(listener, async { drop(stopped.await) }).await });
        Self { local, address, stop, served }
    }

    async fn put(&self, path: &str, body: String) -> Answer {
        request(self.address.clone(), path.to_owned(), body).await
    }

    /// Data of all user records of the stream.
    async fn stored(&self) -> Vec<String> {
        let kinesis = Client::new(&self.local.sdk_config());
        let iterator = kinesis.get_shard_iterator().stream_name(STREAM).shard_id("shardId-000000000000");
        let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.expect("it exists");
        let read = kinesis.get_records().shard_iterator(iterator.shard_iterator().expect("one")).send().await;
        let mut stored = Vec::new();
        for record in read.expect("it is open").records() {
            let found = Deaggregator::new().deaggregate("a", &record.data().as_ref().to_vec().into());
            stored.extend(found.records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()));
        }
        stored
    }
}

async fn request(address: String, path: String, body: String) -> Answer {
    let mut socket = TcpStream::connect(&address).await.expect("it listens");
    let length = body.len();
    let head =
        format!("PUT {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("it reads");
    socket.write_all(body.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
    Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).expect("it is JSON") }
}

fn entry(data: &str) -> Value {
    json!({ "PartitionKey": "AMZN", "Data": base64_simd::STANDARD.encode_to_string(data) })
}

fn path(end: &str) -> String {
    format!("/streams/{STREAM}/{end}")
}

#[tokio::test]
async fn puts_records_and_answers_where_they_are_stored() {
    let proxy = Proxy::start(Settings::default(), |producer| producer).await;

    let one = proxy.put(&path("record"), entry("one").to_string()).await;
    let many = json!({ "Records": [entry("two"), entry("three")] });
    let many = proxy.put(&path("records"), many.to_string()).await;

    assert_eq!((one.status, &one.body["ShardId"]), (200, &json!("shardId-000000000000")), "{one:?}");
    assert!(one.body["SequenceNumber"].is_string(), "{one:?}");
    assert_eq!((many.status, &many.body["FailedRecordCount"]), (200, &json!(0)), "{many:?}");
    assert_eq!(many.body["Records"][1]["SubSequenceNumber"], json!(1), "{many:?}");
    assert_eq!(proxy.stored().await, ["one", "two", "three"]);
}

#[tokio::test]
async fn refuses_bad_requests_by_name_and_puts_nothing() {
    let settings = Settings { body_timeout: Duration::from_millis(200), ..Settings::default() };
    let proxy = Proxy::start(settings, |producer| producer.max_record_bytes(64)).await;
    let refused = async |end: &str, body: Value, message: &str| {
        let answer = proxy.put(&path(end), body.to_string()).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("InvalidRequest")), "{answer:?}");
        assert!(answer.body["message"].as_str().is_some_and(|text| text.contains(message)), "{answer:?}: {message}");
    };

    refused("record", json!({ "PartitionKey": "k", "Data": "%%%" }), "Data is not base64").await;
    refused("record", json!({ "Data": "" }), "missing field `PartitionKey`").await;
    refused("record", json!({ "PartitionKey": "", "Data": "" }), "PartitionKey has 0 characters").await;
    refused("record", entry(&"x".repeat(61)), "record is 65 bytes, above the 64-byte limit").await;
    let second = json!({ "Records": [entry("good"), { "PartitionKey": "k", "Data": "=" }] });
    refused("records", second, "Records[1]: Data is not base64").await;
    refused("records", json!({ "Records": vec![entry("x"); 501] }), "Records has 501 entries, accepted: 1 to 500")
        .await;
    assert_eq!(proxy.put("/streams/Other/record", entry("x").to_string()).await.status, 404);

    let mut slow = TcpStream::connect(&proxy.address).await.expect("it listens");
    let head = format!("PUT {} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 9\r\n\r\n", path("record"));
    slow.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(proxy.stored().await, Vec::<String>::new());
}

#[tokio::test]
async fn answers_429_under_overload_and_stores_what_it_accepted() {
    let proxy = Proxy::start(Settings::default(), |producer| producer.max_outstanding_records(8)).await;
    let slow = proxy.local.faults().on("kinesis:PutRecords").delay(Duration::from_millis(300));

    let mut requests = JoinSet::new();
    for number in 0..60 {
        requests.spawn(request(proxy.address.clone(), path("record"), entry(&number.to_string()).to_string()));
    }
    let answers = requests.join_all().await;

    let (stored, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(stored.len() >= 8 && !refused.is_empty(), "{} stored, {} refused", stored.len(), refused.len());
    for answer in &refused {
        assert_eq!((answer.status, answer.body["code"].as_str()), (429, Some("Busy")), "{answer:?}");
        assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
    }
    assert_eq!(proxy.stored().await.len(), stored.len(), "what was refused is not stored");

    // More records than there is space for: those that found none are named, and are the last.
    let many = json!({ "Records": (0..12).map(|number| entry(&format!("many {number}"))).collect::<Vec<_>>() });
    let answer = proxy.put(&path("records"), many.to_string()).await;
    assert_eq!((answer.status, &answer.body["FailedRecordCount"]), (200, &json!(4)), "{answer:?}");
    assert!(answer.body["Records"][7]["SequenceNumber"].is_string(), "{answer:?}");
    assert_eq!(answer.body["Records"][8]["ErrorCode"], "BufferFull", "{answer:?}");
    slow.remove();
    assert_eq!(proxy.put(&path("record"), entry("at last").to_string()).await.status, 200);
}

#[tokio::test]
async fn bounds_the_requests_at_a_time() {
    let proxy = Proxy::start(Settings { max_requests: 2, ..Settings::default() }, |producer| producer).await;
    let slow = proxy.local.faults().on("kinesis:PutRecords").delay(Duration::from_millis(300));
    let mut requests = JoinSet::new();
    for number in 0..10 {
        requests.spawn(request(proxy.address.clone(), path("record"), entry(&number.to_string()).to_string()));
    }
    let answers = requests.join_all().await;
    slow.remove();

    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!((1..=8).contains(&refused), "{refused} of 10 refused");
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)), "{answers:?}");
}

#[tokio::test]
async fn failures_of_the_service_have_its_code() {
    let proxy = Proxy::start(Settings::default(), |producer| producer).await;
    proxy.local.deny("kinesis:PutRecords");

    let one = proxy.put(&path("record"), entry("one").to_string()).await;
    let many = proxy.put(&path("records"), json!({ "Records": [entry("two")] }).to_string()).await;

    assert_eq!((one.status, one.body["code"].as_str()), (502, Some("Rejected")), "{one:?}");
    assert!(one.body["message"].as_str().is_some_and(|text| text.contains("AccessDenied")), "{one:?}");
    assert_eq!((many.status, &many.body["FailedRecordCount"]), (200, &json!(1)), "{many:?}");
    assert!(
        many.body["Records"][0]["ErrorCode"].as_str().is_some_and(|code| code.contains("AccessDenied")),
        "{many:?}"
    );
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_says_that_the_record_may_be_stored() {
    let proxy = Proxy::start(Settings::default(), |producer| producer).await;
    let puts = || proxy.local.faults().on("kinesis:PutRecords");
    let (_lost, _refused) =
        (puts().call(1).lose_response(), puts().call(2).refuse(400, "AccessDeniedException", "not any more"));

    let answer = proxy.put(&path("record"), entry("one").to_string()).await;

    assert_eq!((answer.status, answer.body["code"].as_str()), (504, Some("NotKnownToBeStored")), "{answer:?}");
    assert!(answer.body["message"].as_str().is_some_and(|text| text.contains("AccessDenied")), "{answer:?}");
    assert_eq!(proxy.stored().await, ["one"]);
}

#[tokio::test]
async fn a_stop_answers_the_requests_that_have_begun() {
    let proxy = Proxy::start(Settings::default(), |producer| producer).await;
    let delay = proxy.local.faults().on("kinesis:PutRecords").delay(Duration::from_millis(300));
    let many = json!({ "Records": (0..20).map(|number| entry(&number.to_string())).collect::<Vec<_>>() });
    let answer = tokio::spawn(request(proxy.address.clone(), path("records"), many.to_string()));
    while delay.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Proxy { local, address, stop, served } = proxy;
    stop.send(()).expect("it is served");

    let answer = answer.await.expect("it does not panic");
    served.await.expect("it does not panic").expect("it ends well");

    assert_eq!((answer.status, &answer.body["FailedRecordCount"]), (200, &json!(0)), "{answer:?}");
    assert!(TcpStream::connect(&address).await.is_err(), "it does not listen any more");
    let (stop, served) = (oneshot::channel().0, tokio::spawn(async { Ok(()) }));
    assert_eq!(Proxy { local, address, stop, served }.stored().await.len(), 20);
}

#[tokio::test]
async fn a_head_that_is_half_sent_does_not_hold_up_the_stop() {
    let settings = Settings { stop_timeout: Duration::from_millis(200), ..Settings::default() };
    let proxy = Proxy::start(settings, |producer| producer).await;
    let mut half = TcpStream::connect(&proxy.address).await.expect("it listens");
    half.write_all(b"PUT /stre").await.expect("it reads");
    // Its connection is taken after the other.
    assert_eq!(proxy.put(&path("record"), entry("one").to_string()).await.status, 200);
    let Proxy { stop, served, .. } = proxy;
    stop.send(()).expect("it is served");

    let served = timeout(Duration::from_secs(15), served).await.expect("it ends in time");

    served.expect("it does not panic").expect("it ends well");
    drop(half);
}
