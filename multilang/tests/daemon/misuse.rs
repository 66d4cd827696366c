//! Misuses: each has a clear error, loses nothing and does not hang.

use std::time::Duration;

use kcl_multilang::{Configurations, Daemon, Settings, rehearse};
use kinesis_local::{LocalAws, ServeOptions};
use tokio::time::{sleep, timeout};

use crate::{
    command::command,
    scene::{FIRST, Scene, script, scripted},
};

/// Error by which a daemon cannot start.
async fn start_error(executable: &str) -> String {
    let mut scene = Scene::new(1).await;
    scene.set("executableName", executable);
    let started = Daemon::start(&scene.settings(), &Configurations::from(scene.local.sdk_config()));
    started.unwrap_err().to_string()
}

/// Error by which a running daemon ends.
async fn end_error(scene: &Scene) -> String {
    let daemon = scene.start();
    let ended = timeout(Duration::from_secs(60), daemon.wait()).await.expect("it does not hang");
    let error = ended.expect_err("it cannot run");
    kcl_multilang::with_causes(&*error)
}

/// A daemon whose child is a script, until its health names this problem; nothing is lost by it.
async fn problem_of_script(text: &str, problem: &str) {
    let mut scene = Scene::new(2).await;
    let program = script(&scene.folder, text);
    scene.set("executableName", &program.display().to_string());
    scene.set("timeoutInSeconds", "1");
    scene.put("value").await;
    let daemon = scene.start();
    let named = timeout(Duration::from_secs(30), async {
        loop {
            let health = daemon.health();
            if health.problems.iter().any(|found| found.contains(problem)) {
                return health;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let Ok(health) = named.await else { panic!("{problem} is not named: {:?}", daemon.health()) };

    assert!(health.live && !health.ready, "{health:?}");
    scene.stop(&daemon).await;
    assert_eq!(scene.lease(FIRST).await.checkpoint.to_string(), "TRIM_HORIZON");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    assert_eq!(start_error("/no/such/app.py").await, "executableName: /no/such/app.py is not found");
    assert!(start_error("no-such-app.py").await.contains("no-such-app.py is not found on the PATH"));
}

#[tokio::test]
async fn a_program_that_is_not_executable_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    assert_eq!(start_error(&path).await, format!("executableName: {path} is not an executable file"));
}

#[tokio::test]
async fn children_that_exit_at_once_on_every_shard_make_it_unready() {
    problem_of_script("exit 3", "child ended, exit status: 3, before its answer to initialize").await;
}

#[tokio::test]
async fn a_program_that_the_system_cannot_run_is_a_problem() {
    let mut scene = Scene::new(1).await;
    let program = script(&scene.folder, "");
    std::fs::write(&program, b"\x7fELF nonsense").unwrap();
    scene.set("executableName", &program.display().to_string());
    let daemon = scene.start();
    let named = timeout(Duration::from_secs(30), async {
        while !daemon.health().problems.iter().any(|found| found.contains("cannot be started")) {
            sleep(Duration::from_millis(50)).await;
        }
    });

    named.await.expect("it is named");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_child_that_prints_other_text_and_never_answers_is_a_problem() {
    problem_of_script(
        "while read -r line; do echo \"got a line\"; done",
        "child gave no answer to initialize within 1 s",
    )
    .await;
}

#[tokio::test]
async fn a_child_that_talks_without_a_pause_is_a_problem() {
    problem_of_script("yes", "child gave no answer to initialize within 1 s").await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_a_problem() {
    problem_of_script("exec >&-\nsleep 60", "child closed its standard output before its answer to initialize").await;
}

#[tokio::test]
async fn a_child_that_closes_its_input_is_a_problem() {
    problem_of_script("exec <&-\nsleep 60", "child gave no answer to initialize within 1 s").await;
}

#[tokio::test]
async fn a_child_that_asks_and_never_reads_is_a_problem() {
    let text = "yes '{\"action\":\"checkpoint\",\"sequenceNumber\":null}'";
    problem_of_script(text, "child").await;
}

#[tokio::test]
async fn a_child_that_answers_without_reading_is_a_problem() {
    let text = "echo '{\"action\":\"status\",\"responseFor\":\"leaseLost\"}'\nread -r line\nsleep 0.2\n\
                echo '{\"action\":\"status\"}'\nsleep 60";
    problem_of_script(text, "child answered for no action, and initialize was asked").await;
}

#[tokio::test]
async fn a_missing_stream_is_named() {
    let mut scene = Scene::new(1).await;
    scene.set("streamName", "NoSuchStream");

    assert!(end_error(&scene).await.contains("stream NoSuchStream does not exist"));
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_named() {
    let scene = Scene::new(1).await;
    for action in ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "dynamodb:DescribeTable"] {
        let _fault = scene.local.faults().on(action).refuse(400, "UnrecognizedClientException", "the token is invalid");
    }

    let error = end_error(&scene).await;
    assert!(error.contains("credentials") || error.contains("UnrecognizedClientException"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_ends_with_1_and_names_what_is_wrong() {
    let local = LocalAws::start().await;
    let server = local.serve(ServeOptions::default()).await.unwrap();
    let complete = [
        ("executableName", "cat"),
        ("applicationName", "application"),
        ("streamName", "stream"),
        ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
    ];
    let run = |settings: &[(&str, &str)], arguments: &[&str], without: &str| {
        let output = command(&server, settings).args(arguments).env_remove(without).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let with = |key, value| {
        complete.into_iter().filter(move |(known, _)| *known != key).chain([(key, value)]).collect::<Vec<_>>()
    };

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    for (outcome, error) in [
        (run(&[], &["/no/such.properties"], ""), "/no/such.properties cannot be read: No such file"),
        (run(&[], &[], ""), "there are no settings: name a file, as in kcl-multilang app.properties"),
        (run(&complete[1..], &[], ""), "executableName is missing: the program of a shard's child, as in"),
        (run(&complete[..3], &[], ""), "AwsCredentialsProvider is missing"),
        (
            run(&with("failoverTimeMillis", "soon"), &[], ""),
            "failoverTimeMillis is \"soon\", accepted: a whole number from 0",
        ),
        (run(&with("executableName", "/no/such"), &[], ""), "executableName: /no/such is not found"),
        (run(&complete, &[], "AWS_REGION"), "no region is configured"),
        (run(&with("applicationName", "a b"), &[], ""), "a b"),
        (run(&with("probeAddress", &address), &[], ""), "cannot be listened on"),
        (run(&complete, &[], ""), "stream stream does not exist"),
    ] {
        assert_eq!(outcome.0, Some(1), "{}", outcome.1);
        assert!(outcome.1.contains(error), "{error}: {}", outcome.1);
    }
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_loses_no_record() {
    let mut scene = Scene::new(1).await;
    scene.set("deadLetterFile", &scene.folder.path().display().to_string());
    scene.set("processorErrorAttempts", "1");
    scene.put("die").await;
    let daemon = scene.start();

    scene.until_delivered("die", 3).await;

    scene.stop(&daemon).await;
    assert_eq!(scene.lease(FIRST).await.checkpoint.to_string(), "TRIM_HORIZON");
}

async fn rehearsal(program: &str) -> kcl_multilang::Report {
    let settings = [
        ("executableName", program),
        ("applicationName", "application"),
        ("streamName", "stream"),
        ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
        ("timeoutInSeconds", "1"),
        ("childExitMillis", "500"),
    ];
    let variables = settings.map(|(key, value)| (format!("KCL_MULTILANG_{key}"), value.to_owned()));
    let settings = Settings::read(None, variables.into_iter()).unwrap();
    rehearse(&settings, b"value").await.unwrap()
}

#[tokio::test]
async fn a_rehearsal_of_a_good_child_finds_nothing_wrong() {
    let report = rehearsal(&scripted().display().to_string()).await;

    assert!(report.is_good(), "{:#?}", report.lines());
    assert_eq!(report.lines().len(), 9, "{:#?}", report.lines());
    assert!(report.lines().iter().all(|line| line.starts_with("ok ")));
}

#[tokio::test]
async fn a_rehearsal_names_what_is_wrong_with_a_child() {
    let folder = tempfile::tempdir().unwrap();
    let exits = script(&folder, "exit 5").display().to_string();
    let report = rehearsal(&exits).await;
    assert!(!report.is_good() && report.lines()[0].contains("exit status: 5"), "{:#?}", report.lines());

    let journal = folder.path().join("journal").display().to_string();
    let forgets = format!("{} journal={journal} end=no-checkpoint-once", scripted().display());
    let report = rehearsal(&forgets).await;
    let text = report.lines().join("\n");
    assert!(!report.is_good() && text.contains("it did not checkpoint, so the shard would not end"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_whose_reader_goes_away_ends_with_its_own_code() {
    let local = LocalAws::start().await;
    let server = local.serve(ServeOptions::default()).await.unwrap();
    let program = scripted().display().to_string();
    let settings = [
        ("executableName", program.as_str()),
        ("applicationName", "application"),
        ("streamName", "stream"),
        ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
    ];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let output = command(&server, &settings).arg("--check").stdout(writer).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
