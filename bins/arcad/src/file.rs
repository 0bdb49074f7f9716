//! `daemon.json`: read, checked for unknown keys, and for keys that a flag gives as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cli::Cli;
use crate::options::{self, OPTIONS};
use crate::parse;

/// The values of a configuration file by their key, `proxies` taken apart.
pub(crate) type Values = BTreeMap<String, Value>;

/// Why the file, or the file with the flags, is no configuration. The texts are dockerd's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("unable to configure the Docker daemon with file {}: {cause}", .path.display())]
    Read { path: PathBuf, cause: String },
    #[error("unable to configure the Docker daemon with file {}: invalid JSON: {why}", .path.display())]
    Json { path: PathBuf, why: String },
    #[error(
        "unable to configure the Docker daemon with file {}: the following directives don't match any configuration option: {}",
        .path.display(), .keys.join(", ")
    )]
    Unknown { path: PathBuf, keys: Vec<String> },
    #[error(
        "unable to configure the Docker daemon with file {}: the following directives are specified both as a flag and in the configuration file: {}",
        .path.display(), .conflicts.join(", ")
    )]
    Conflicts {
        path: PathBuf,
        conflicts: Vec<String>,
    },
}

/// Reads the file and checks it against the flags.
///
/// `required` says that the file was named by a flag, so that its absence is an error.
///
/// # Errors
/// See [`FileError`].
pub(crate) fn load(path: &Path, required: bool, cli: &Cli) -> Result<Values, FileError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
            return Ok(Values::new());
        }
        Err(error) => {
            let cause = format!("open {}: {}", path.display(), errno_text(&error));
            return Err(FileError::Read {
                path: path.to_owned(),
                cause,
            });
        }
    };
    check(path, &text, cli)
}

fn check(path: &Path, text: &str, cli: &Cli) -> Result<Values, FileError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Ok(Values::new());
    }
    let json = |why: String| FileError::Json {
        path: path.to_owned(),
        why,
    };
    let parsed: Value = serde_json::from_str(text).map_err(|error| json(error.to_string()))?;
    let Value::Object(map) = parsed else {
        return Err(json(
            "json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned(),
        ));
    };
    let map = flatten(map);
    let unknown: Vec<String> = map
        .keys()
        .filter(|key| options::by_key(key).is_none())
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(FileError::Unknown {
            path: path.to_owned(),
            keys: unknown,
        });
    }
    let conflicts = conflicts(&map, cli);
    if !conflicts.is_empty() {
        return Err(FileError::Conflicts {
            path: path.to_owned(),
            conflicts,
        });
    }
    let mut values = Values::new();
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        if let Some(option) = options::by_key(&key) {
            let value = parse::file(option.kind, &key, &value).map_err(json)?;
            values.insert(key, value);
        }
    }
    Ok(values)
}

/// Takes `proxies` apart, whose members are options of their own.
fn flatten(mut map: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(proxies)) = map.remove("proxies") {
        map.extend(proxies);
    }
    map
}

/// What both the flags and the file say. Runtimes may be given in both.
fn conflicts(map: &Map<String, Value>, cli: &Cli) -> Vec<String> {
    let mut found = Vec::new();
    for option in OPTIONS {
        if option.key.is_empty() || option.flag.is_empty() || option.flag == "add-runtime" {
            continue;
        }
        if let (Some(flag), Some(file)) = (cli.values.get(option.flag), map.get(option.key)) {
            let shown = cli
                .shown
                .get(option.flag)
                .cloned()
                .unwrap_or_else(|| parse::go(flag));
            found.push(format!(
                "{}: (from flag: {shown}, from file: {})",
                option.key,
                parse::go(file)
            ));
        }
    }
    found
}

/// The text of an errno as Go prints it: without Rust's code, in lower case.
fn errno_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, Program};

    fn cli(arguments: &[&str]) -> Cli {
        let program = Program::from_arg0(None);
        match Cli::parse(&program, arguments.iter().map(|a| (*a).to_owned())).unwrap() {
            Command::Run(cli) => cli,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(text: &str, arguments: &[&str]) -> String {
        let error = check(Path::new("/etc/docker/daemon.json"), text, &cli(arguments)).unwrap_err();
        let text = error.to_string();
        text.strip_prefix(
            "unable to configure the Docker daemon with file /etc/docker/daemon.json: ",
        )
        .unwrap()
        .to_owned()
    }

    #[test]
    fn unknown_keys_are_refused_with_their_case() {
        assert_eq!(
            refusal(r#"{"foo":1,"LOG-LEVEL":"debug"}"#, &[]),
            "the following directives don't match any configuration option: LOG-LEVEL, foo"
        );
    }

    #[test]
    fn a_key_and_a_flag_for_the_same_are_refused() {
        for (file, flags, text) in [
            (
                r#"{"log-level":"debug"}"#,
                &["--log-level", "info"][..],
                "log-level: (from flag: info, from file: debug)",
            ),
            (
                r#"{"labels":["a=b"]}"#,
                &["--label", "c=d"],
                "labels: (from flag: [c=d], from file: [a=b])",
            ),
            (
                r#"{"log-opts":{"max-size":"10m"}}"#,
                &["--log-opt", "max-file=3"],
                "log-opts: (from flag: map[max-file:3], from file: map[max-size:10m])",
            ),
            (
                r#"{"debug":true}"#,
                &["-D"],
                "debug: (from flag: true, from file: true)",
            ),
            (
                r#"{"proxies":{"http-proxy":"x"}}"#,
                &["--http-proxy", "y"],
                "http-proxy: (from flag: y, from file: x)",
            ),
            (
                r#"{"default-ulimits":{"nofile":{"Name":"nofile","Hard":100,"Soft":100}}}"#,
                &["--default-ulimit", "nproc=10"],
                "default-ulimits: (from flag: [nproc=10:10], from file: map[nofile:map[Hard:100 Name:nofile Soft:100]])",
            ),
        ] {
            assert_eq!(
                refusal(file, flags),
                format!(
                    "the following directives are specified both as a flag and in the configuration file: {text}"
                )
            );
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert_eq!(
            refusal(r#"{"debug":"yes"}"#, &[]),
            "invalid JSON: json: cannot unmarshal string into Go struct field Config.debug of type bool"
        );
        assert_eq!(
            refusal(r#"{"log-opts":{"a":5}}"#, &[]),
            "invalid JSON: json: cannot unmarshal number into Go struct field Config.log-opts.a of type string"
        );
        assert_eq!(
            refusal("[]", &[]),
            "invalid JSON: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
    }

    #[test]
    fn an_absent_default_file_is_no_error_but_a_named_one_is() {
        let path = Path::new("/nonexistent/daemon.json");
        assert!(load(path, false, &Cli::default()).unwrap().is_empty());
        assert_eq!(
            load(path, true, &Cli::default()).unwrap_err().to_string(),
            "unable to configure the Docker daemon with file /nonexistent/daemon.json: open /nonexistent/daemon.json: no such file or directory"
        );
    }

    #[test]
    fn null_and_an_empty_file_say_nothing() {
        let path = Path::new("x");
        assert!(check(path, "", &Cli::default()).unwrap().is_empty());
        assert!(
            check(path, r#"{"log-level":null}"#, &Cli::default())
                .unwrap()
                .is_empty()
        );
    }
}
