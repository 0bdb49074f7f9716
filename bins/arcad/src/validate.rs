//! `--validate`: everything that a start would refuse before it touches the host.

use crate::cli::{Cli, Program};
use crate::settings::Settings;
use crate::{listen, services};

/// Reads flags and file as a start does, and hands the services what they would get.
///
/// # Errors
/// What the start would say.
pub(crate) fn check(program: &Program, cli: &Cli) -> anyhow::Result<()> {
    let settings = Settings::load(program, cli)?;
    listen::check(&settings.hosts)?;
    services::registry(&settings)?;
    services::storage(&settings)?;
    services::networks(&settings)?;
    services::containers(&settings)?;
    crate::builds::builds(&settings)?;
    services::image_gc(&settings)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;

    fn checked(file: &str, flags: &[&str]) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, file).unwrap();
        let program = Program::from_arg0(None);
        let path = path.to_str().unwrap().to_owned();
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let arguments = ["--validate".to_owned(), "--config-file".to_owned(), path];
        match Cli::parse(&program, arguments.into_iter().chain(flags)).unwrap() {
            Command::Validate(cli) => check(&program, &cli).map_err(|error| format!("{error:#}")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_start_would_refuse_is_told() {
        for (file, text) in [
            (
                r#"{"storage-driver":"btrfs"}"#,
                "failed to start daemon: driver not supported: btrfs",
            ),
            (r#"{"dns":["nope"]}"#, "invalid DNS server: nope"),
            (
                r#"{"bip":"10.1"}"#,
                "invalid bip: invalid CIDR address: 10.1",
            ),
            (
                r#"{"default-runtime":"crun"}"#,
                "specified default runtime 'crun' does not exist",
            ),
            (
                r#"{"seccomp-profile":"/nonexistent"}"#,
                "opening seccomp profile (/nonexistent) failed: No such file or directory (os error 2)",
            ),
            (
                r#"{"hosts":["tcp://192.0.2.1:2375"]}"#,
                "failed to load listeners: listen tcp 192.0.2.1:2375: arca serves TCP without TLS on \
                 loopback addresses only",
            ),
            (
                r#"{"log-driver":"splunk"}"#,
                "failed to set log opts: error looking up logging plugin splunk: plugin \"splunk\" not found",
            ),
            (
                r#"{"log-opts":{"bogus":"1"}}"#,
                "failed to set log opts: unknown log opt 'bogus' for json-file log driver",
            ),
        ] {
            assert_eq!(checked(file, &[]).unwrap_err(), text, "{file}");
        }
        let good = r#"{"dns":["192.0.2.1"],"log-driver":"local","log-opts":{"max-size":"1m"},"storage-driver":"overlay2"}"#;
        checked(good, &["-H", "tcp://127.0.0.1:2375", "-H", "fd://"]).unwrap();
        checked(r#"{"log-driver":"none"}"#, &[]).unwrap();
        checked(r#"{"log-opts":{"max-size":"-1"}}"#, &[]).unwrap();
    }
}
