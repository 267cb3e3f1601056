//! What the documents tell people to type is understood.

use sockeye_bench::cli::{Command, parse};
use sockeye_bench::mixed::Mix;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The blocks of code in a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("```") {
        let block = &rest[start + 3..];
        let end = block.find("```").expect("a block that is closed");
        if let Some(code) = block[..end].strip_prefix(language) {
            blocks.push(code);
        }
        rest = &block[end + 3..];
    }
    blocks
}

#[test]
fn every_command_line_in_the_documents_is_understood() {
    let mut count = 0;
    for name in ["docs/load-testing.md", "docs/load-report.md", "README.md"] {
        let text = read(name);
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines) {
            let command = line.trim().split(" bench ").collect::<Vec<_>>();
            let (["sockeye" | "cargo run --release --", flags] | [flags]) = command[..] else {
                continue;
            };
            if command.len() < 2 {
                continue;
            }
            let words = flags.split_ascii_whitespace().map(|word| {
                // Files are named from the root.
                match word.starts_with("crates/") {
                    true => root().join(word).display().to_string(),
                    false => word.to_owned(),
                }
            });
            match parse(words) {
                Ok(Command::Run { .. } | Command::Checked(_)) => count += 1,
                other => panic!("{name}: {line}: {other:?}"),
            }
        }
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn every_scenario_in_the_documents_is_known_and_has_its_command() {
    let text = read("docs/load-testing.md");
    let scenarios = [
        "idle", "ramp", "spike", "soak", "storm", "churn", "echo", "rate", "fanout", "slow",
        "mixed",
    ];
    for scenario in scenarios {
        let command = format!("\nsockeye bench {scenario} --url ");
        assert!(text.contains(&command), "{scenario}");
        let help = parse([scenario.to_owned(), "--help".to_owned()]);
        assert!(matches!(help, Ok(Command::Help(Some(name))) if name == scenario));
    }
}

#[test]
fn the_scenario_file_that_is_explained_is_understood() {
    let text = read("docs/load-testing.md");
    let [file] = blocks(&text, "toml")[..] else {
        panic!("one scenario file expected")
    };
    let mix = Mix::parse("load-testing.md", file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((mix.phases.len(), mix.behaviours.len()), (3, 2));
}
