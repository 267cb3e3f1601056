//! The command line: a command, flags from the table of settings, and help.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::config::table::{SECTIONS, TABLE};
use crate::config::{
    CONFIG_ENV, ConfigError, FlagValue, Kind, Problem, Setting, default_of, nearest,
};

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve,
    Bench,
    Check,
    ConfigReference,
    Version,
    Help,
}

/// Every command with its name and what it does.
const COMMANDS: &[(Command, &str, &str)] = &[
    (Command::Serve, "serve", "Start the server"),
    (
        Command::Bench,
        "bench",
        "Load a Socket.IO server and check that every message arrives",
    ),
    (
        Command::Check,
        "check",
        "Check the configuration; print every value and its origin",
    ),
    (
        Command::ConfigReference,
        "config-reference",
        "Print the reference of all settings",
    ),
    (Command::Version, "version", "Print the version"),
    (
        Command::Help,
        "help",
        "Explain a command or a setting, such as `help server.port`",
    ),
];

/// Flags that are not settings.
const OWN_FLAGS: &[&str] = &["config", "help", "version"];

/// A command line, taken apart.
pub(crate) struct CommandLine {
    /// `None`: no command was given.
    pub(crate) command: Option<Command>,
    /// What `help` is to explain.
    pub(crate) topic: Option<String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) flags: Vec<FlagValue>,
    /// What follows `bench`: its own command line.
    pub(crate) bench: Vec<String>,
}

impl CommandLine {
    /// Parses the arguments without the program's name.
    ///
    /// # Errors
    ///
    /// Unknown commands and flags, and flags without a value.
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Self, ConfigError> {
        let mut line = Self {
            command: None,
            topic: None,
            config: None,
            flags: Vec::new(),
            bench: Vec::new(),
        };
        if let Some((_, bench)) = arguments.split_first().filter(|(name, _)| *name == "bench") {
            line.command = Some(Command::Bench);
            line.bench = lossy(bench);
            return Ok(line);
        }
        if let [help, topic, rest @ ..] = arguments
            && (help, topic) == (&"help".into(), &"bench".into())
        {
            line.command = Some(Command::Bench);
            line.bench = [vec!["help".to_owned()], lossy(rest)].concat();
            return Ok(line);
        }
        let mut help = false;
        let mut problems = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let text = argument.to_string_lossy();
            let Some(name) = flag_name(&text) else {
                line.positional(&text, &mut problems);
                continue;
            };
            let (name, attached) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            match name {
                "help" | "h" => help = true,
                "version" | "V" => line.command = Some(Command::Version),
                "config" | "c" => match attached
                    .map(OsString::from)
                    .or_else(|| rest.next().cloned())
                {
                    Some(file) => line.config = Some(PathBuf::from(file)),
                    None => problems.push(Problem::NoValue {
                        flag: "--config".to_owned(),
                        expected: "a path of a file".to_owned(),
                    }),
                },
                _ => line.setting(name, attached, &mut rest, &mut problems),
            }
        }
        if help {
            line.topic = line
                .topic
                .or_else(|| line.command.map(|c| c.name().to_owned()));
            line.command = Some(Command::Help);
        }
        ConfigError::check(problems)?;
        Ok(line)
    }

    fn positional(&mut self, text: &str, problems: &mut Vec<Problem>) {
        let command = COMMANDS.iter().find(|(_, name, _)| *name == text);
        match (self.command, command) {
            (None, Some((command, ..))) => self.command = Some(*command),
            (Some(Command::Help), _) if self.topic.is_none() => self.topic = Some(text.to_owned()),
            (None, None) => problems.push(Problem::Unknown {
                place: "command line".to_owned(),
                what: "command",
                name: text.to_owned(),
                nearest: nearest(text, COMMANDS.iter().map(|(_, name, _)| *name))
                    .unwrap_or_default()
                    .to_owned(),
            }),
            (Some(_), _) => problems.push(Problem::Conflict {
                key: format!("command line: `{text}`"),
                reason: "one command at a time, and no arguments beside flags".to_owned(),
            }),
        }
    }

    fn setting<'a>(
        &mut self,
        name: &str,
        attached: Option<String>,
        rest: &mut (impl Iterator<Item = &'a OsString> + Clone),
        problems: &mut Vec<Problem>,
    ) {
        let flag = format!("--{name}");
        let find = |name: &str| TABLE.iter().find(|setting| setting.flag == name);
        let name = if name == "p" { "port" } else { name };
        if let Some(setting) = find(name) {
            let value = match (attached, &setting.kind) {
                (Some(value), _) => Some(value),
                // A switch takes its value only with `=`, or as a word that can be nothing else.
                (None, Kind::Switch) => {
                    let next = rest.clone().next().and_then(|next| next.to_str());
                    match next.filter(|next| matches!(*next, "true" | "false")) {
                        Some(value) => {
                            rest.next();
                            Some(value.to_owned())
                        }
                        None => Some("true".to_owned()),
                    }
                }
                (None, _) => rest
                    .next()
                    .map(|value| value.to_string_lossy().into_owned()),
            };
            match value {
                Some(text) => self.flags.push(FlagValue {
                    setting,
                    flag,
                    text,
                }),
                None => {
                    problems.push(Problem::NoValue {
                        flag,
                        expected: setting.kind.to_string(),
                    });
                }
            }
            return;
        }
        let negated = name.strip_prefix("no-").and_then(find);
        match (negated, attached) {
            (Some(setting), None) if matches!(setting.kind, Kind::Switch) => {
                self.flags.push(FlagValue {
                    setting,
                    flag,
                    text: "false".to_owned(),
                });
            }
            _ => {
                let known = TABLE
                    .iter()
                    .map(|setting| setting.flag)
                    .chain(OWN_FLAGS.iter().copied());
                let nearest = nearest(name, known).unwrap_or_default();
                problems.push(Problem::Unknown {
                    place: "command line".to_owned(),
                    what: "flag",
                    name: flag,
                    nearest: format!("--{nearest}"),
                });
            }
        }
    }
}

/// Arguments as text; what is not UTF-8 is not a flag or value of anything.
fn lossy(arguments: &[OsString]) -> Vec<String> {
    let text = arguments.iter().map(|argument| argument.to_string_lossy());
    text.map(String::from).collect()
}

impl Command {
    fn name(self) -> &'static str {
        // Every command is in the list.
        COMMANDS
            .iter()
            .find(|(command, ..)| *command == self)
            .map_or("", |(_, name, _)| name)
    }
}

/// The name of a flag with whatever is attached to it: `--port=1` and `-p` are flags, `-` is not.
fn flag_name(text: &str) -> Option<&str> {
    match text.strip_prefix("--") {
        Some(name) => Some(name),
        None => text.strip_prefix('-').filter(|name| !name.is_empty()),
    }
}

/// The help about `topic`: a command, a setting by any of its names, or everything in short.
///
/// # Errors
///
/// When there is no such topic.
pub(crate) fn help(topic: Option<&str>) -> Result<String, ConfigError> {
    let Some(topic) = topic else {
        return Ok(format!("{}\n{}", overview(), settings_help()));
    };
    if let Some((command, name, about)) = COMMANDS.iter().find(|(_, name, _)| *name == topic) {
        return Ok(match command {
            Command::Serve | Command::Check => command_help(name, about),
            _ => format!("{about}.\n\nUsage: sockeye {name}\n"),
        });
    }
    let plain = topic.trim_start_matches('-');
    let setting = TABLE
        .iter()
        .find(|setting| setting.path == plain || setting.flag == plain || setting.env() == plain);
    if let Some(setting) = setting {
        return Ok(setting_help(setting));
    }
    let topics = COMMANDS
        .iter()
        .map(|(_, name, _)| *name)
        .chain(TABLE.iter().map(|s| s.path));
    Err(ConfigError::from(Problem::Unknown {
        place: "help".to_owned(),
        what: "topic",
        name: topic.to_owned(),
        nearest: nearest(topic, topics).unwrap_or_default().to_owned(),
    }))
}

/// The commands, in short.
pub(crate) fn overview() -> String {
    let mut text = format!(
        "Sockeye {}: a real-time server that speaks Socket.IO\n\n\
         Usage: sockeye <COMMAND> [FLAGS]\n\nCommands:\n",
        env!("CARGO_PKG_VERSION")
    );
    for (_, name, about) in COMMANDS {
        // Writing to a `String` cannot fail; here and below the results are of no interest.
        let _ = writeln!(text, "  {name:<18}{about}");
    }
    text.push_str("\nTry it: `sockeye serve`, then open the link it prints in two windows.\n");
    text
}

fn command_help(name: &str, about: &str) -> String {
    format!(
        "{about}.\n\nUsage: sockeye {name} [FLAGS]\n\n{}",
        settings_help()
    )
}

/// Every flag with its default, by section.
fn settings_help() -> String {
    let mut text = format!(
        "Every flag is also a key of the file and an environment variable: --port is `port` in\n\
         [server] and SOCKEYE_SERVER_PORT. Flags win over variables, variables over the file.\n\
         `sockeye help <FLAG>` says more about one.\n\n\
         \x20 -c, --config <FILE>\n          TOML file to read (or {CONFIG_ENV})\n\
         \x20 -h, --help\n          This text\n"
    );
    for section in SECTIONS {
        let _ = write!(text, "\n{}:\n", section.title);
        let of_section = |setting: &&&Setting| setting.section() == section.name;
        for setting in TABLE.iter().filter(of_section) {
            let short = if setting.flag == "port" { "-p, " } else { "" };
            let flag = match setting.kind {
                Kind::Switch => format!("--[no-]{}", setting.flag),
                _ => format!("{short}--{} {}", setting.flag, setting.placeholder()),
            };
            let default = default_text(setting);
            let _ = writeln!(text, "  {flag}\n          {}{default}", setting.short);
        }
    }
    text
}

fn default_text(setting: &Setting) -> String {
    match default_of(setting).to_string().as_str() {
        "\"\"" | "[]" => String::new(),
        default => format!(" [default: {default}]"),
    }
}

fn setting_help(setting: &Setting) -> String {
    format!(
        "{}: {}.\n\n{}\n\n  file         [{}] {} = {}\n  environment  {}\n  flag         --{} {}\n  \
         accepted     {}\n  default      {}\n",
        setting.path,
        setting.short,
        setting.long,
        setting.section(),
        setting.name(),
        default_of(setting),
        setting.env(),
        setting.flag,
        setting.placeholder(),
        setting.kind,
        default_of(setting),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<CommandLine, ConfigError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        CommandLine::parse(&arguments)
    }

    fn flags(line: &CommandLine) -> Vec<(&str, &str)> {
        line.flags
            .iter()
            .map(|flag| (flag.setting.path, flag.text.as_str()))
            .collect()
    }

    #[test]
    fn takes_flags_in_every_form() {
        let line = parse(&[
            "serve",
            "--port",
            "0",
            "--host=::1",
            "--recovery",
            "--no-playground",
            "--metrics",
            "false",
            "-c",
            "a.toml",
            "--cors-credentials=false",
        ])
        .expect("a good line");
        assert_eq!(line.command, Some(Command::Serve));
        assert_eq!(line.config, Some(PathBuf::from("a.toml")));
        let expected = [
            ("server.port", "0"),
            ("server.host", "::1"),
            ("recovery.enabled", "true"),
            ("http.playground", "false"),
            ("http.metrics", "false"),
            ("cors.credentials", "false"),
        ];
        assert_eq!(flags(&line), expected);
    }

    #[test]
    fn a_switch_does_not_swallow_the_command() {
        let line = parse(&["--recovery", "serve"]).expect("a good line");
        assert_eq!(line.command, Some(Command::Serve));
    }

    #[test]
    fn what_follows_bench_is_its_own() {
        let line = parse(&["bench", "echo", "--url", "x", "--help"]).expect("a good line");
        assert_eq!(line.command, Some(Command::Bench));
        assert_eq!(line.bench, ["echo", "--url", "x", "--help"]);
        let line = parse(&["help", "bench", "echo"]).expect("a good line");
        assert_eq!(line.command, Some(Command::Bench));
        assert_eq!(line.bench, ["help", "echo"]);
    }

    #[test]
    fn names_the_nearest() {
        for (arguments, expected) in [
            (
                &["serve", "--prot", "1"][..],
                "`--prot`; did you mean `--port`?",
            ),
            (&["serv"], "`serv`; did you mean `serve`?"),
            (&["serve", "--confg=x"], "did you mean `--config`?"),
            (&["serve", "--no-port"], "unknown flag `--no-port`"),
            (
                &["serve", "--port"],
                "--port needs a value: a whole number from 0 to 65535",
            ),
            (&["serve", "check"], "one command at a time"),
        ] {
            let error = parse(arguments).err().expect("an error").to_string();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn help_knows_every_setting_by_every_name() {
        for setting in TABLE {
            for name in [
                setting.path.to_owned(),
                setting.env(),
                format!("--{}", setting.flag),
            ] {
                let text = help(Some(&name)).expect("help");
                assert!(text.contains(setting.short), "{name}");
            }
            let all = help(Some("serve")).expect("help");
            assert!(
                all.contains(setting.flag) && all.contains(setting.short),
                "{}",
                setting.path
            );
        }
    }
}
