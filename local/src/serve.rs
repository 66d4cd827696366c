//! The services on ports, by default of 127.0.0.1, for other processes and other languages.
//!
//! HTTP/1.1 and HTTP/2, distinguished by the first bytes, in clear text or over TLS, by ALPN. Any port answers for all
//! services; there are three because tools expect one endpoint each. Signatures are checked for their time only. `GET /livez`
//! is answered by 200, for probes.
//!
//! `serve/connection.rs` accepts and answers; `serve/tls.rs` makes the certificate.

mod connection;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::connection::{Door, accept};
use crate::local::LocalAws;
use crate::services::Services;

/// Ports and encryption of a [`Server`]. Default: any free ports of 127.0.0.1, in clear text.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServeOptions {
    address: Option<IpAddr>,
    kinesis_port: u16,
    dynamodb_port: u16,
    cloudwatch_port: u16,
    tls: bool,
}

impl ServeOptions {
    /// Address to listen on, such as 0.0.0.0 within a container. Default 127.0.0.1. Whoever reaches it may read and change
    /// everything: no credentials are asked for. A certificate is for `localhost` alone.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Port for Kinesis. Default 0: any free one.
    #[must_use]
    pub fn kinesis_port(mut self, port: u16) -> Self {
        self.kinesis_port = port;
        self
    }

    /// Port for DynamoDB. Default 0: any free one.
    #[must_use]
    pub fn dynamodb_port(mut self, port: u16) -> Self {
        self.dynamodb_port = port;
        self
    }

    /// Port for CloudWatch. Default 0: any free one.
    #[must_use]
    pub fn cloudwatch_port(mut self, port: u16) -> Self {
        self.cloudwatch_port = port;
        self
    }

    /// True to serve over TLS, with a certificate that is made at the start; see [`Server::certificate_pem`]. Default
    /// false: in clear text.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }
}

/// The reason why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A port is taken, or may not be used. Nothing is served.
    #[error("cannot serve {service} on {address}")]
    Bind {
        /// The service.
        service: &'static str,
        /// Its address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// No certificate could be made. Nothing is served.
    #[error("cannot make a certificate for TLS")]
    Certificate {
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LocalAws {
    /// Serves the services on ports as well, for other processes and other languages.
    ///
    /// Not for tests under paused time: a socket does not wait for a virtual clock, so timeouts fire early.
    ///
    /// # Errors
    /// A port cannot be used.
    ///
    /// # Cancellation
    /// Dropping the future before it completes serves nothing.
    pub async fn serve(&self, options: ServeOptions) -> Result<Server, ServeError> {
        Server::start(Arc::clone(&self.services), options).await
    }
}

/// A server of the services, which runs until it is stopped or dropped.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Server {
    kinesis: SocketAddr,
    dynamodb: SocketAddr,
    cloudwatch: SocketAddr,
    certificate_pem: Option<String>,
    listeners: JoinSet<()>,
    stop: DropGuard,
}

impl Server {
    pub(crate) async fn start(services: Arc<Services>, options: ServeOptions) -> Result<Self, ServeError> {
        let at = |port| SocketAddr::new(options.address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
        let (kinesis_listener, kinesis) = bind("Kinesis", at(options.kinesis_port)).await?;
        let (dynamodb_listener, dynamodb) = bind("DynamoDB", at(options.dynamodb_port)).await?;
        let (cloudwatch_listener, cloudwatch) = bind("CloudWatch", at(options.cloudwatch_port)).await?;
        let tls = options.tls.then(tls::generate).transpose();
        let (acceptor, certificate_pem) = match tls.map_err(|source| ServeError::Certificate { source })? {
            Some(tls) => (Some(tls.acceptor), Some(tls.authority_pem)),
            None => (None, None),
        };
        let stop = CancellationToken::new();
        let door = Door { services, acceptor, stop: stop.clone() };
        let mut listeners = JoinSet::new();
        for listener in [kinesis_listener, dynamodb_listener, cloudwatch_listener] {
            listeners.spawn(accept(listener, door.clone()));
        }
        Ok(Self { kinesis, dynamodb, cloudwatch, certificate_pem, listeners, stop: stop.drop_guard() })
    }

    /// The address of Kinesis.
    pub fn kinesis_address(&self) -> SocketAddr {
        self.kinesis
    }

    /// The address of DynamoDB.
    pub fn dynamodb_address(&self) -> SocketAddr {
        self.dynamodb
    }

    /// The address of CloudWatch.
    pub fn cloudwatch_address(&self) -> SocketAddr {
        self.cloudwatch
    }

    /// The endpoint URL of Kinesis, for `AWS_ENDPOINT_URL_KINESIS` and `endpoint_url` of clients.
    pub fn kinesis_url(&self) -> String {
        self.url(self.kinesis)
    }

    /// The endpoint URL of DynamoDB, for `AWS_ENDPOINT_URL_DYNAMODB` and `endpoint_url` of clients.
    pub fn dynamodb_url(&self) -> String {
        self.url(self.dynamodb)
    }

    /// The endpoint URL of CloudWatch, for `AWS_ENDPOINT_URL_CLOUDWATCH` and `endpoint_url` of clients.
    pub fn cloudwatch_url(&self) -> String {
        self.url(self.cloudwatch)
    }

    /// The certificate that clients must trust, if the services are served over TLS: that of an authority which exists
    /// only for this server.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate_pem.as_deref()
    }

    /// The URL by which this machine reaches an address.
    fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.certificate_pem.is_some() { "https" } else { "http" };
        let host: IpAddr = match address.ip() {
            IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        format!("{scheme}://{}", SocketAddr::new(host, address.port()))
    }

    /// Stops accepting, answers the requests that have begun (for at most a second), and closes all connections.
    ///
    /// # Panics
    /// Answering a request panicked.
    ///
    /// # Cancellation
    /// Dropping the future closes all connections at once.
    pub async fn stop(mut self) {
        drop(self.stop);
        while let Some(ended) = self.listeners.join_next().await {
            raise_panic(ended);
        }
    }
}

async fn bind(service: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let refused = |source| ServeError::Bind { service, address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn raise_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}
