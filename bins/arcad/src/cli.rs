//! The command line, read as dockerd reads it: `--flag value`, `--flag=value`, `-f value`, `-fvalue`,
//! bundled letters, and its words when something is wrong.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use crate::options::{self, Kind, Opt};
use crate::parse;

/// Under which name the daemon was called; `dockerd` changes the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// `arcad` or `dockerd`.
    pub(crate) name: &'static str,
    /// The configuration file that is read when it exists.
    pub(crate) config_file: &'static str,
    /// Where to listen when nothing says it.
    pub(crate) host: &'static str,
    /// The default pid file.
    pub(crate) pidfile: &'static str,
}

impl Program {
    /// Tells the name from the first argument of the process.
    pub(crate) fn from_arg0(arg0: Option<&OsStr>) -> Self {
        let name = arg0.map(Path::new).and_then(Path::file_name);
        if name == Some(OsStr::new("dockerd")) {
            Self {
                name: "dockerd",
                config_file: "/etc/docker/daemon.json",
                host: "unix:///var/run/docker.sock",
                pidfile: "/var/run/docker.pid",
            }
        } else {
            Self {
                name: "arcad",
                config_file: "/etc/arca/daemon.json",
                host: "unix:///var/run/arca.sock",
                pidfile: "/var/run/arca.pid",
            }
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
    /// Check the configuration.
    Validate(Cli),
    /// Remove from the kernel what the engine keeps there.
    Teardown(Cli),
    /// Serve.
    Run(Cli),
}

/// The flags that were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cli {
    /// Values by the option's flag, as JSON in the shape the file has them.
    pub(crate) values: BTreeMap<&'static str, Value>,
    /// How dockerd prints the value of a flag, where the shape of the file differs from it.
    pub(crate) shown: BTreeMap<&'static str, String>,
}

/// A command line that cannot be read. The texts are dockerd's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CliError {
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    #[error("unknown shorthand flag: '{0}' in -{1}")]
    UnknownShorthand(char, String),
    #[error("flag needs an argument: {0}")]
    NeedsArgument(String),
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {why}")]
    InvalidArgument {
        value: String,
        flag: String,
        why: String,
    },
    #[error("\"{0}\" accepts no arguments.")]
    Positional(&'static str),
}

impl Cli {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// An unknown flag, a flag without its value, a value of the wrong type, a positional argument.
    pub(crate) fn parse(
        program: &Program,
        arguments: impl Iterator<Item = String>,
    ) -> Result<Command, CliError> {
        let mut cli = Self::default();
        let mut rest = arguments;
        while let Some(argument) = rest.next() {
            if argument == "--" {
                if rest.next().is_some() {
                    return Err(CliError::Positional(program.name));
                }
            } else if let Some(long) = argument.strip_prefix("--") {
                cli.long(long, &mut rest)?;
            } else if let Some(letters) = argument.strip_prefix('-').filter(|l| !l.is_empty()) {
                cli.letters(letters, &mut rest)?;
            } else {
                return Err(CliError::Positional(program.name));
            }
        }
        let on = |flag| cli.values.get(flag) == Some(&Value::Bool(true));
        if on("help") {
            Ok(Command::Help)
        } else if on("version") {
            Ok(Command::Version)
        } else if on("validate") {
            Ok(Command::Validate(cli))
        } else if on("teardown") {
            Ok(Command::Teardown(cli))
        } else {
            Ok(Command::Run(cli))
        }
    }

    /// The text of a flag that was given.
    pub(crate) fn text(&self, flag: &str) -> Option<&str> {
        self.values.get(flag).and_then(Value::as_str)
    }

    fn long(&mut self, long: &str, rest: &mut dyn Iterator<Item = String>) -> Result<(), CliError> {
        let (name, inline) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let option =
            options::by_flag(name).ok_or_else(|| CliError::UnknownFlag(name.to_owned()))?;
        let value = match (inline, option.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => "true".to_owned(),
            (None, _) => rest
                .next()
                .ok_or_else(|| CliError::NeedsArgument(format!("--{name}")))?,
        };
        self.set(option, &value)
    }

    fn letters(
        &mut self,
        letters: &str,
        rest: &mut dyn Iterator<Item = String>,
    ) -> Result<(), CliError> {
        let mut left = letters;
        while let Some(letter) = left.chars().next() {
            let after = left.get(letter.len_utf8()..).unwrap_or_default();
            let option = options::by_short(letter)
                .ok_or_else(|| CliError::UnknownShorthand(letter, letters.to_owned()))?;
            if let Some(value) = after.strip_prefix('=') {
                return self.set(option, value);
            }
            if option.kind == Kind::Bool {
                self.set(option, "true")?;
                left = after;
                continue;
            }
            if !after.is_empty() {
                return self.set(option, after);
            }
            let value = rest
                .next()
                .ok_or_else(|| CliError::NeedsArgument(format!("'{letter}' in -{letters}")))?;
            return self.set(option, &value);
        }
        Ok(())
    }

    fn set(&mut self, option: &'static Opt, text: &str) -> Result<(), CliError> {
        let added = parse::flag(option.kind, text).map_err(|why| CliError::InvalidArgument {
            value: text.to_owned(),
            flag: match option.short {
                Some(letter) => format!("-{letter}, --{}", option.flag),
                None => format!("--{}", option.flag),
            },
            why,
        })?;
        if option.kind == Kind::Ulimits {
            let shown = self.shown.entry(option.flag).or_default();
            let text = parse::ulimit_text(text);
            *shown = match shown.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
                Some(before) => format!("[{before} {text}]"),
                None => format!("[{text}]"),
            };
        }
        match self.values.get_mut(option.flag) {
            Some(present) => merge(present, added),
            None => {
                self.values.insert(option.flag, added);
            }
        }
        Ok(())
    }
}

/// A repeated flag: lists and maps grow, anything else is replaced.
fn merge(present: &mut Value, added: Value) {
    match (present, added) {
        (Value::Array(present), Value::Array(added)) => present.extend(added),
        (Value::Object(present), Value::Object(added)) => present.extend(added),
        (present, added) => *present = added,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Cli, String> {
        let program = Program::from_arg0(None);
        match Cli::parse(&program, arguments.iter().map(|a| (*a).to_owned())) {
            Ok(Command::Run(cli)) => Ok(cli),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags_are_read_in_every_spelling() {
        let cli = parsed(&[
            "-D",
            "-H",
            "unix:///a",
            "-Hfd://",
            "--host=tcp://127.0.0.1:1",
            "-l=debug",
            "--mtu",
            "1400",
            "--init=false",
            "--log-opt",
            "a=b",
            "--log-opt=c=d",
        ])
        .unwrap();
        assert_eq!(cli.values["debug"], true);
        assert_eq!(
            cli.values["host"],
            serde_json::json!(["unix:///a", "fd://", "tcp://127.0.0.1:1"])
        );
        assert_eq!(cli.values["log-level"], "debug");
        assert_eq!(cli.values["mtu"], 1400);
        assert_eq!(cli.values["init"], false);
        assert_eq!(
            cli.values["log-opt"],
            serde_json::json!({"a": "b", "c": "d"})
        );
    }

    #[test]
    fn refusals_are_in_dockerds_words() {
        for (arguments, text) in [
            (&["--foo"][..], "unknown flag: --foo"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["--log-level"], "flag needs an argument: --log-level"),
            (&["-H"], "flag needs an argument: 'H' in -H"),
            (&["extra"], "\"arcad\" accepts no arguments."),
            (
                &["--mtu=abc"],
                "invalid argument \"abc\" for \"--mtu\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax",
            ),
            (
                &["--debug=maybe"],
                "invalid argument \"maybe\" for \"-D, --debug\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                &["--label", "a"],
                "invalid argument \"a\" for \"--label\" flag: bad attribute format: a",
            ),
            (
                &["-H", "foo://x"],
                "invalid argument \"foo://x\" for \"-H, --host\" flag: invalid bind address (foo://x): unsupported proto 'foo'",
            ),
            (
                &["--default-ulimit", "foo=1"],
                "invalid argument \"foo=1\" for \"--default-ulimit\" flag: invalid ulimit type: foo",
            ),
            (
                &["--registry-mirror", "ftp://x"],
                "invalid argument \"ftp://x\" for \"--registry-mirror\" flag: invalid mirror: unsupported scheme \"ftp\" in \"ftp://x\": must use either 'https://' or 'http://'",
            ),
        ] {
            assert_eq!(parsed(arguments).unwrap_err(), text);
        }
    }

    #[test]
    fn called_dockerd_the_defaults_are_dockerds() {
        let program = Program::from_arg0(Some(OsStr::new("/usr/bin/dockerd")));
        assert_eq!(program.host, "unix:///var/run/docker.sock");
        assert_eq!(
            Program::from_arg0(Some(OsStr::new("x/arcad"))).name,
            "arcad"
        );
    }
}
