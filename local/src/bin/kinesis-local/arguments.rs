//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

/// A local Kinesis, DynamoDB and CloudWatch, in memory, on loopback ports.
///
/// `kinesis-local run -- COMMAND` runs a command with the services. Without `run`, prints the environment that AWS SDKs
/// and the AWS CLI need as lines for a shell, then the line `ready`, and serves until Ctrl-C or SIGTERM. Logs are written
/// to stderr; RUST_LOG sets what is logged (default: info, with `run` warn).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, disable_help_subcommand = true, after_help = SERVE_USAGE)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) services: Services,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a command with the services, on free ports, and end with its exit code
    ///
    /// The command sees none of the caller's AWS_* variables and configuration files, so nothing it does with an AWS SDK or
    /// the AWS CLI reaches the real AWS. SIGTERM and SIGINT are passed on to it; Ctrl-C at a terminal reaches it anyway.
    ///
    /// Ends with the command's exit code, or 128 + N if signal N killed it; 125 if the services cannot be started, 126 if
    /// the command cannot be run, 127 if it is not found.
    #[command(after_help = RUN_USAGE)]
    Run(Run),

    /// Ask a server for its health: 0 if it answers within 5 s, else 1
    ///
    /// For containers, which have neither a shell nor curl.
    Health(Health),
}

/// The arguments of `health`.
#[derive(Args)]
pub(crate) struct Health {
    /// The probe, in clear text: the path /livez of any of the ports
    #[arg(default_value = "http://127.0.0.1:4567/livez")]
    pub(crate) url: String,
}

/// The arguments of `run`.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) services: Services,

    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// The services to start.
#[derive(Args)]
pub(crate) struct Services {
    /// Create a stream; may be repeated [default: 1 shard]
    #[arg(long, value_name = "NAME[:SHARDS]")]
    pub(crate) stream: Vec<StreamArgument>,

    /// Address to listen on, such as 0.0.0.0 in a container; whoever reaches it may do everything [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<IpAddr>,

    /// Port for Kinesis, 0 for any free port [default: 4567; with run, 0]
    #[arg(long, value_name = "PORT")]
    pub(crate) kinesis_port: Option<u16>,

    /// Port for DynamoDB, 0 for any free port [default: 8000; with run, 0]
    #[arg(long, value_name = "PORT")]
    pub(crate) dynamodb_port: Option<u16>,

    /// Port for CloudWatch, which accepts metrics and drops them; 0 for any free port [default: 0]
    #[arg(long, value_name = "PORT")]
    pub(crate) cloudwatch_port: Option<u16>,

    /// Serve over TLS, with a certificate that is made at the start and forgotten at the end
    #[arg(long)]
    pub(crate) tls: bool,

    /// Write the certificate that clients must trust to this file, in PEM, and set AWS_CA_BUNDLE and NODE_EXTRA_CA_CERTS.
    /// Implies --tls
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,

    /// Enforce the service's limits on throughput and calls
    #[arg(long)]
    pub(crate) enforce_limits: bool,

    /// Maximum size of all records that Kinesis keeps, in MiB; puts beyond it are throttled
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub(crate) max_retained_mib: u64,
}

/// A stream to create.
#[derive(Clone)]
pub(crate) struct StreamArgument {
    pub(crate) name: String,
    pub(crate) shards: u32,
}

impl FromStr for StreamArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, shards) = text.split_once(':').unwrap_or((text, "1"));
        let shards = shards.parse().ok().filter(|shards| *shards > 0);
        let shards = shards.ok_or("the number of shards after the colon is a whole number from 1, as in orders:2")?;
        Ok(Self { name: name.to_owned(), shards })
    }
}

const RUN_USAGE: &str = r"Examples:

  kinesis-local run --stream orders:2 -- python consumer.py
  kinesis-local run -- sh -c 'aws kinesis create-stream --stream-name orders --shard-count 2 && ./test'
  kinesis-local run -- bash        # a shell in which AWS is local";

const SERVE_USAGE: &str = r#"Examples:

  kinesis-local run --stream orders:2 -- python consumer.py

In bash, start it in the background and take over its environment:

  while read -r line && [ "$line" != ready ]; do eval "$line"; done < <(kinesis-local)
  [ "$line" = ready ] && aws kinesis create-stream --stream-name orders --shard-count 2
  kill $!

In any shell, by way of a file:

  kinesis-local > local.env & until grep -qx ready local.env; do sleep 0.1; done
  eval "$(grep -vx ready local.env)""#;
