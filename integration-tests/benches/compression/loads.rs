//! Records that are compressed: the sample's trades, and lines of a web server's log as JSON.

use examples::generator::Generator;
use kpl::UserRecord;

/// Kind of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Trades,
    WebLog,
}

impl Load {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::WebLog => "web log",
        }
    }

    /// As many records.
    pub(crate) fn records(self, count: usize) -> Vec<UserRecord> {
        match self {
            Self::Trades => trades(count),
            Self::WebLog => web_log(count),
        }
    }
}

/// Trades under the number of their account, so that all shards have some.
fn trades(count: usize) -> Vec<UserRecord> {
    let mut rng = fastrand::Rng::with_seed(1);
    Generator::new(7)
        .take(count)
        .map(|trade| UserRecord::new(format!("account-{}", rng.u32(..10_000)), trade.to_json()))
        .collect()
}

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148",
    "curl/8.11.0",
];
const PATHS: [&str; 5] = ["articles", "products", "users", "search", "static/images"];

/// Lines under the address of the client.
fn web_log(count: usize) -> Vec<UserRecord> {
    let mut rng = fastrand::Rng::with_seed(2);
    let line = |number: usize| {
        let (host, millis) = (format!("10.{}.{}.{}", rng.u8(..16), rng.u8(..), rng.u8(..)), number % 1000);
        let (hour, minute, second) = (number / 3_600_000 % 24, number / 60_000 % 60, number / 1000 % 60);
        let path = format!("/{}/{}", PATHS[rng.usize(..PATHS.len())], rng.u32(..100_000));
        let status = [200, 200, 200, 200, 200, 200, 304, 304, 404, 500][rng.usize(..10)];
        let line = format!(
            "{{\"time\":\"2026-11-30T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\",\"host\":\"{host}\",\
             \"method\":\"GET\",\"path\":\"{path}\",\"protocol\":\"HTTP/2\",\"status\":{status},\"bytes\":{},\
             \"referrer\":\"https://www.example.com/\",\"agent\":\"{}\",\"request_id\":\"{:016x}\",\"millis\":{}}}",
            rng.u32(..200_000),
            AGENTS[rng.usize(..AGENTS.len())],
            rng.u64(..),
            rng.u32(..2_000),
        );
        UserRecord::new(host, line)
    };
    (0..count).map(line).collect()
}
