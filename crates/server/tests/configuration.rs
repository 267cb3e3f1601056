//! The settings from outside: precedence, origins, refusals, and the reference page.

mod support;

use std::path::Path;

use support::{TempFile, sockeye};

/// The line of `sockeye check` for one key of one section.
fn line(output: &str, section: &str, key: &str) -> String {
    let start = output.find(&format!("[{section}]\n")).expect("the section");
    let found = output[start..]
        .lines()
        .find(|line| line.starts_with(&format!("{key} = ")));
    let line = found.expect("the key");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let file = TempFile::new("port.toml", "# first line\n[server]\nport = 4001\n");
    let path = file.path().display().to_string();
    let check = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = sockeye(&[&["check"], arguments].concat(), environment);
        assert_eq!(output.status, 0, "{}", output.stderr);
        line(&output.stdout, "server", "port")
    };
    let variable = ("SOCKEYE_SERVER_PORT", "4002");
    assert_eq!(check(&[], &[]), "port = 3000 # default");
    assert_eq!(
        check(&[], &["--config", &path]),
        format!("port = 4001 # {path}:3")
    );
    assert_eq!(
        check(&[("SOCKEYE_CONFIG", &path)], &[]),
        format!("port = 4001 # {path}:3")
    );
    assert_eq!(
        check(&[variable], &["--config", &path]),
        "port = 4002 # environment SOCKEYE_SERVER_PORT"
    );
    assert_eq!(
        check(&[variable], &["--config", &path, "--port", "4003"]),
        "port = 4003 # flag --port"
    );
}

#[test]
fn what_check_prints_is_a_file_with_the_same_effect() {
    let arguments = [
        "check",
        "--cors-origin=https://a.example,https://b.example",
        "--cors-origin=http://c.example:8080",
        r"--cors-pattern=https://[a-z]{1,3}\.example",
        "--recovery",
        "--no-playground",
        "--log-level=warn,sockeye=debug",
        "--max-rooms=1_000",
    ];
    let first = sockeye(&arguments, &[]);
    assert_eq!(first.status, 0, "{}", first.stderr);
    let file = TempFile::new("again.toml", &first.stdout);
    let path = file.path().display().to_string();
    let second = sockeye(&["check", "--config", &path], &[]);
    assert_eq!(second.status, 0, "{}", second.stderr);

    let values = |output: &str| -> Vec<String> {
        let lines = output.lines().filter(|line| line.contains(" = "));
        lines
            .map(|line| {
                line.rsplit_once(" # ")
                    .expect("an origin")
                    .0
                    .trim()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(values(&first.stdout), values(&second.stdout));
    assert!(first.stdout.contains(
        r#"origins = ["https://a.example", "https://b.example", "http://c.example:8080"]"#
    ));
    assert!(
        first
            .stdout
            .contains(r#"patterns = ["https://[a-z]{1,3}\\.example"]"#)
    );
    assert_eq!(
        line(&first.stdout, "limits", "rooms"),
        "rooms = 1000 # flag --max-rooms"
    );
}

#[test]
fn every_problem_is_told_with_place_key_value_and_expectation() {
    let file = TempFile::new(
        "wrong.toml",
        "port = 1\n[server]\nprot = 1\nport = \"x\"\n[sever]\n[engine]\nping_interval_ms = 2.5\n",
    );
    let path = file.path().display().to_string();
    let output = sockeye(
        &["check", "--config", &path, "--port", "99999"],
        &[
            ("SOCKEYE_SERVER_PROT", "1"),
            ("SOCKEYE_RECOVERY_ENABLED", "maybe"),
        ],
    );
    assert_eq!(output.status, 2);
    assert_eq!(output.stdout, "");
    for expected in [
        format!("{path}:1: unknown key `port`; did you mean `server.port`?"),
        format!("{path}:3: unknown key `server.prot`; did you mean `server.port`?"),
        format!(
            "{path}:4: server.port = \"x\" is not accepted; expected a whole number from 0 to 65535"
        ),
        format!("{path}:5: unknown section `[sever]`; did you mean `[server]`?"),
        format!("{path}:7: engine.ping_interval_ms = 2.5 is not accepted"),
        "environment: unknown variable `SOCKEYE_SERVER_PROT`; did you mean `SOCKEYE_SERVER_PORT`?"
            .to_owned(),
        "environment: SOCKEYE_RECOVERY_ENABLED = maybe is not accepted; expected true or false"
            .to_owned(),
        "command line: --port = 99999 is not accepted".to_owned(),
    ] {
        assert!(
            output.stderr.contains(&expected),
            "no {expected:?} in\n{}",
            output.stderr
        );
    }
}

#[test]
fn an_unknown_flag_or_command_names_the_nearest() {
    for (arguments, expected) in [
        (
            &["serve", "--hots", "::1"][..],
            "unknown flag `--hots`; did you mean `--host`?",
        ),
        (
            &["cheque"],
            "unknown command `cheque`; did you mean `check`?",
        ),
        (
            &["help", "server.prot"],
            "unknown topic `server.prot`; did you mean `server.port`?",
        ),
    ] {
        let output = sockeye(arguments, &[]);
        assert_eq!(output.status, 2, "{arguments:?}");
        assert!(
            output.stderr.contains(expected),
            "{arguments:?}: {}",
            output.stderr
        );
    }
}

/// A service called "sockeye" makes Kubernetes set these; they must not stop the container.
#[test]
fn variables_of_kubernetes_services_and_scripts_are_passed_over() {
    let output = sockeye(
        &["check"],
        &[
            ("SOCKEYE_BIN", "/usr/bin/sockeye"),
            ("SOCKEYE_SERVICE_HOST", "10.0.0.1"),
            ("SOCKEYE_SERVICE_PORT", "3000"),
            ("SOCKEYE_SERVICE_PORT_HTTP", "3000"),
            ("SOCKEYE_PORT", "tcp://10.0.0.1:3000"),
            ("SOCKEYE_PORT_3000_TCP", "tcp://10.0.0.1:3000"),
            ("SOCKEYE_PORT_3000_TCP_PROTO", "tcp"),
            ("SOCKEYE_PORT_3000_TCP_ADDR", "10.0.0.1"),
            ("SOCKEYE_SERVER_PORT", "tcp://10.0.0.1:3000"),
        ],
    );
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(
        line(&output.stdout, "server", "port"),
        "port = 3000 # default"
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named_with_the_line() {
    let output = sockeye(&["check", "--config", "/nonexistent/sockeye.toml"], &[]);
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.starts_with("/nonexistent/sockeye.toml: "),
        "{}",
        output.stderr
    );

    let file = TempFile::new("broken.toml", "[server]\nport = \n");
    let output = sockeye(
        &["check", "--config", &file.path().display().to_string()],
        &[],
    );
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.contains("broken.toml:2: "),
        "{}",
        output.stderr
    );
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for (arguments, expected) in [
        (&["--host", "0.0.0.0"][..], "--allow-unauthenticated"),
        (&["--host", "example.com"], "development mode"),
        (&["--tls-cert", "cert.pem"], "needs tls.key"),
        (&["--tls-key", "key.pem"], "needs tls.cert"),
        (&["--transports", ""], "at least one transport"),
        (
            &["--cors-origin", "*", "--cors-credentials"],
            "cannot be combined",
        ),
        (
            &["--cors-pattern", "("],
            "expected a list; each entry a regular expression",
        ),
        (
            &["--websocket-compression-window-bits", "8"],
            "from 9 to 15",
        ),
    ] {
        for command in ["check", "serve"] {
            let output = sockeye(&[&[command], arguments].concat(), &[]);
            assert_eq!(output.status, 2, "{arguments:?}");
            assert!(
                output.stderr.contains(expected),
                "{arguments:?}: {}",
                output.stderr
            );
        }
    }
    let output = sockeye(
        &["check", "--host", "0.0.0.0", "--allow-unauthenticated"],
        &[],
    );
    assert_eq!(output.status, 0, "{}", output.stderr);
}

#[test]
fn the_reference_page_is_that_of_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let committed = std::fs::read_to_string(page).unwrap_or_default();
    let written = sockeye(&["config-reference"], &[]);
    assert_eq!(written.status, 0);
    assert!(
        committed == written.stdout,
        "docs/configuration.md is not what the table says; rewrite it from the root with\n\
         cargo run -p sockeye-server -- config-reference > docs/configuration.md"
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [
        &["--help"][..],
        &["help"],
        &["serve", "--help"],
        &["help", "serve"],
    ] {
        let output = sockeye(arguments, &[]);
        assert_eq!(output.status, 0, "{arguments:?}");
        assert!(output.stdout.contains("--port <N>"), "{arguments:?}");
    }
    assert!(
        sockeye(&["--version"], &[])
            .stdout
            .starts_with("sockeye 0.")
    );
    let bare = sockeye(&[], &[]);
    assert_eq!((bare.status, bare.stdout.as_str()), (2, ""));
    assert!(bare.stderr.contains("serve"));
}
