//! A REST proxy in front of Kinesis streams, until Ctrl-C or SIGTERM: `rest-proxy 127.0.0.1:8080 STREAM...`.
//!
//! Without arguments it listens on 127.0.0.1:8080 in front of an AWS embedded in the process, with the stream StockTradeStream.

use std::env;

use anyhow::Context as _;
use kinesis_local::LocalAws;
use samples::{
    ambient,
    rest_proxy::{RestProxy, Settings},
};
use tokio::net::TcpListener;

const STREAM: &str = "StockTradeStream";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ambient::log();
    let stop = ambient::stop_signal()?;
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut streams: Vec<String> = arguments.collect();
    let aws = if streams.is_empty() {
        streams.push(STREAM.to_owned());
        let local = LocalAws::start().await;
        local.create_stream(STREAM, 2)?;
        local.sdk_config()
    } else {
        ambient::aws().await
    };
    let proxy = RestProxy::new(&aws, &streams, Settings::default(), |producer| producer.send_when_idle(true))?;
    let listener = TcpListener::bind(&address).await.with_context(|| format!("{address} cannot be listened on"))?;
    println!("PUT http://{}/streams/{}/record and /records; Ctrl-C stops", listener.local_addr()?, streams[0]);
    proxy.serve(listener, stop).await?;
    Ok(())
}
