//! `kinesis-local run`: a command with the services, on real sockets. Time is real here, and nothing waits for it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Output, Stdio};

use kinesis_local::LocalAws;

/// `kinesis-local run` with these arguments, in the environment of a caller who works on the real AWS.
fn run(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinesis-local"));
    command.arg("run").args(arguments);
    for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_STS", "AWS_SOME_FUTURE_SETTING"] {
        command.env(name, "of-the-caller");
    }
    command.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true").env("NO_PROXY", "intranet").env_remove("no_proxy");
    command
}

fn output(arguments: &[&str]) -> Output {
    run(arguments).output().unwrap()
}

fn error_text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A command in the background, which is killed when a test fails.
struct Running(Child);

impl Running {
    /// Starts it and waits until it has printed a line.
    fn start(script: &str) -> Self {
        let mut command = run(&["--", "sh", "-c", script]);
        // In the background: in the foreground a terminal sends Ctrl-C to the command as well, and it is not passed on.
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        Self(child)
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.0.kill();
    }
}

#[test]
fn sets_an_environment_in_which_nothing_finds_the_real_aws() {
    let output = output(&["--", "env"]);

    assert!(output.status.success(), "{}", error_text(&output));
    assert_eq!(error_text(&output), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let found: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(!text.contains("of-the-caller"), "{text}");
    for service in ["", "_KINESIS", "_DYNAMODB", "_CLOUDWATCH"] {
        let url = found[format!("AWS_ENDPOINT_URL{service}").as_str()];
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    }
    assert_eq!(found["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"], "false");
    assert_eq!((found["AWS_CONFIG_FILE"], found["AWS_SHARED_CREDENTIALS_FILE"]), ("/dev/null", "/dev/null"));
    assert_eq!((found["AWS_REGION"], found["AWS_DEFAULT_REGION"]), ("us-east-1", "us-east-1"));
    assert_eq!((found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]), ("local", "local"));
    assert_eq!((found["NO_PROXY"], found["no_proxy"]), ("intranet,127.0.0.1", "127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_streams_that_were_asked_for_until_the_command_ends() {
    let script = "echo $AWS_ENDPOINT_URL_KINESIS; read line";
    let mut child = run(&["--stream", "orders:2", "--stream", "payments", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let http_client = aws_smithy_http_client::Builder::new().build_http();
    let config = LocalAws::start().await.sdk_config().into_builder().http_client(http_client);
    let kinesis = aws_sdk_kinesis::Client::new(&config.endpoint_url(url.trim()).build());

    for (stream, shards) in [("orders", 2), ("payments", 1)] {
        let listed = kinesis.list_shards().stream_name(stream).send().await.unwrap();
        assert_eq!(listed.shards().len(), shards, "{stream}");
    }

    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(kinesis.list_streams().send().await.is_err());
}

#[test]
fn hands_its_input_to_the_command_and_the_commands_output_on() {
    let mut child = run(&["--", "sh", "-c", "cat; echo complaint >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"three\nlines\nof input").unwrap();

    let output = child.wait_with_output().unwrap();

    assert_eq!(String::from_utf8_lossy(&output.stdout), "three\nlines\nof input");
    assert_eq!(error_text(&output), "complaint\n");
}

#[test]
fn ends_with_the_exit_code_of_the_command() {
    assert_eq!(output(&["--", "true"]).status.code(), Some(0));
    assert_eq!(output(&["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(output(&["--", "sh", "-c", "kill -KILL $$"]).status.code(), Some(128 + 9));
}

#[test]
fn passes_signals_on_to_the_command_and_waits_for_its_end() {
    for (signal, name) in [("-TERM", "TERM"), ("-INT", "INT")] {
        let script = format!("trap 'kill $!; exit 42' {name}; sleep 600 & echo started; wait");
        let mut running = Running::start(&script);

        running.signal(signal);

        assert_eq!(running.0.wait().unwrap().code(), Some(42), "{signal}");
    }
}

#[test]
fn ends_with_128_and_the_signal_that_ended_the_command() {
    let mut running = Running::start("echo started; exec sleep 600");

    running.signal("-TERM");

    let status = running.0.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None));
}

#[test]
fn names_a_command_that_cannot_be_run() {
    let missing = output(&["--", "no-such-command", "--flag"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(error_text(&missing).starts_with("kinesis-local: cannot run no-such-command: "), "{missing:?}");

    let folder = output(&["--", "/"]);
    assert_eq!(folder.status.code(), Some(126));
    assert!(error_text(&folder).starts_with("kinesis-local: cannot run /: "), "{folder:?}");
}

#[test]
fn refuses_arguments_that_make_no_sense_before_the_command_runs() {
    let refusals: [(&[&str], i32, &str); 7] = [
        (&[], 2, "COMMAND"),
        (&["--"], 2, "COMMAND"),
        (&["echo", "no dashes"], 2, "'echo'"),
        (&["--stream", "orders:0", "--", "echo"], 2, "number of shards"),
        (&["--stream", "orders:two", "--", "echo"], 2, "number of shards"),
        (&["--stream", "no spaces", "--", "echo"], 125, "cannot create stream \"no spaces\""),
        (&["--stream", "twice", "--stream", "twice", "--", "echo"], 125, "already exists"),
    ];
    for (arguments, code, text) in refusals {
        let output = output(arguments);

        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(error_text(&output).contains(text), "{arguments:?}: {}", error_text(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn names_a_port_that_is_taken_and_a_file_that_cannot_be_written() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output_of_taken = output(&["--dynamodb-port", &port, "--", "echo"]);
    assert_eq!(output_of_taken.status.code(), Some(125));
    let expected = format!("kinesis-local: cannot serve DynamoDB on 127.0.0.1:{port}: ");
    assert!(error_text(&output_of_taken).starts_with(&expected), "{output_of_taken:?}");

    let output = output(&["--tls-certificate", "/no/such/folder/certificate.pem", "--", "echo"]);
    assert_eq!(output.status.code(), Some(125));
    let expected = "kinesis-local: cannot write /no/such/folder/certificate.pem: ";
    assert!(error_text(&output).starts_with(expected), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn lets_the_command_trust_its_certificate() {
    let file = std::env::temp_dir().join(format!("kinesis-local-run-{}.pem", std::process::id()));
    let path = file.to_str().unwrap();

    let output =
        output(&["--tls-certificate", path, "--", "sh", "-c", "echo $AWS_CA_BUNDLE; cat $NODE_EXTRA_CA_CERTS"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("{path}\n-----BEGIN CERTIFICATE-----")), "{text}");
    let mut written = String::new();
    std::fs::File::open(&file).unwrap().read_to_string(&mut written).unwrap();
    assert!(text.ends_with(&written));
    std::fs::remove_file(file).unwrap();
}
