//! `kds serve`, `kds report`.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Child,
    time::timeout,
};

use crate::support::{PATIENCE, World, ended, interrupt};

/// Starts to serve; returns what it prints.
async fn serving(world: &World, arguments: &str) -> (Child, String) {
    let mut serve =
        world.command(&format!("serve printer --port 0 {arguments}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(serve.stdout.take().unwrap());
    timeout(PATIENCE, stdout.read_line(&mut line)).await.unwrap().unwrap();
    (serve, line.trim().to_owned())
}

/// The answer, until it contains this text.
async fn get(url: &str, path: &str, host: &str, until: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (String::new(), vec![0; 64 * 1024]);
    while !answer.contains(until) {
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(count, 0, "no {until} in {answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_a_page_and_the_lag_of_a_stuck_shard() {
    let world = World::start().await;
    world.put("alpha", "hang").await;
    let _worker = world.worker("w1");
    world.until_fleet("", |fleet| fleet["leases"][0]["lagMillis"].as_u64() > Some(1_000)).await;
    let (serve, url) = serving(&world, "--every 1s").await;

    let page = get(&url, "/", "localhost", "</script>").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("<title>printer</title>"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    let events = get(&url, "/events", "127.0.0.1:1", "id: 1\n").await;
    let first = events.lines().find_map(|line| line.split_once("data: ")).unwrap().1;
    let look: serde_json::Value = serde_json::from_str(first).unwrap();
    assert!(look["fleet"]["leases"][0]["lagMillis"].as_u64() > Some(1_000), "{look}");
    assert_eq!((look["shards"].as_array().unwrap().len(), &look["shards"][1]["end"]), (2, &1.0.into()));
    assert!(get(&url, "/", "evil.example", "\r\n\r\n").await.starts_with("HTTP/1.1 403"));

    interrupt(&serve);
    assert_eq!(ended(serve).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_need_a_token() {
    let world = World::start().await;
    world.run("serve printer --bind 0.0.0.0").await.fails_with(&["0.0.0.0 is reached from other machines", "--token"]);
    let worker = world.worker("w1");
    world.until_fleet("--no-lag", |_| true).await;
    let (serve, url) = serving(&world, "--token secret --no-lag").await;

    assert!(url.ends_with("/?token=secret"), "{url}");
    assert!(get(&url, "/?token=secret", "localhost", "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(get(&url, "/", "localhost", "\r\n\r\n").await.starts_with("HTTP/1.1 403"));
    let (page, live) = (url.split('?').next().unwrap(), format!("{}livez", url.split('?').next().unwrap()));
    world.run(&format!("health {live}")).await.succeeds();
    world.run(&format!("health {page}")).await.fails_with(&["answers 403", "a token is needed"]);
    interrupt(&serve);
    assert_eq!(ended(serve).await.code, 0);
    world.run(&format!("health {live}")).await.fails_with(&["does not answer"]);
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_a_page_that_needs_nothing_else() {
    let world = World::start().await;
    let worker = world.worker("</script>w1");
    world.until_fleet("--no-lag", |fleet| fleet["leases"].as_array().unwrap().len() == 2).await;

    world.run("report printer -o report.html").await.succeeds();

    let page = world.read("report.html");
    assert!(page.contains("shardId-000000000001") && page.matches("</script>").count() == 2, "{page}");
    assert!(std::fs::read_dir(world.path()).unwrap().count() == 1, "nothing else is left");
    world.run("report printer -o missing/report.html").await.fails_with(&["missing/report.html cannot be written"]);
    worker.stop().await.unwrap();
}
