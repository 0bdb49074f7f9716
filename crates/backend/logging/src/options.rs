//! The drivers' options (`HostConfig.LogConfig.Config`), with dockerd's texts for what is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_shim_proto::LogSpec;

use crate::attributes::{self, Subject};
use crate::error::Error;
use crate::limits::{bound, limits};
use crate::remote;
use crate::values::{boolean, human_size};

/// The format of a log's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    JsonFile,
    /// Also what is kept of a log that is sent elsewhere.
    Local,
    None,
}

type Options = BTreeMap<String, String>;

/// The drivers there are, but `none`, as `docker info` lists them.
pub const DRIVERS: [&str; 6] = [
    "fluentd",
    "gelf",
    "journald",
    "json-file",
    "local",
    "syslog",
];

const JSON_FILE: [&str; 8] = [
    "max-file",
    "max-size",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
];
const LOCAL: [&str; 3] = ["max-file", "max-size", "compress"];
/// Options that every driver takes.
const COMMON: [&str; 6] = [
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];

/// Bytes that may wait when `max-buffer-size` says nothing.
const BUFFER_SIZE: usize = 1 << 20;

/// How many bytes may wait to be written in the mode `non-blocking`; `None` in the other.
pub(crate) fn buffer_size(options: &Options) -> Option<usize> {
    if options
        .get("mode")
        .is_none_or(|mode| mode != "non-blocking")
    {
        return None;
    }
    let size = options.get("max-buffer-size");
    let size = size.and_then(|text| human_size(text, 1024.0).ok());
    Some(size.map_or(BUFFER_SIZE, |size| {
        usize::try_from(size).unwrap_or(usize::MAX)
    }))
}

/// Are entries sent to somebody else?
pub(crate) fn is_remote(driver: &str) -> bool {
    matches!(driver, "fluentd" | "gelf" | "journald" | "syslog")
}

/// Can the log be read back?
#[must_use]
pub fn is_readable(spec: &LogSpec) -> bool {
    spec.driver != "none" && !is_unreadable(spec)
}

/// The option `cache-disabled`: what is kept is for sending only.
pub(crate) fn is_unreadable(spec: &LogSpec) -> bool {
    let disabled = spec.options.get("cache-disabled");
    is_remote(&spec.driver) && disabled.is_some_and(|text| boolean(text) == Ok(true))
}

/// Checks what dockerd checks when a container is created: the driver's name and its options' names.
///
/// # Errors
/// [`Error::UnknownDriver`] and the errors of options' names and modes, in dockerd's words.
pub fn validate(driver: &str, options: &Options) -> Result<(), Error> {
    if format(driver)? == Format::None {
        return Ok(());
    }
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Error::Mode(mode.to_owned()));
    }
    if let Some(size) = options.get("max-buffer-size") {
        if mode != "non-blocking" {
            return Err(Error::BufferSizeWithoutMode);
        }
        human_size(size, 1024.0).map_err(Error::BufferSize)?;
    }
    if let Some(disabled) = options.get("cache-disabled")
        && !disabled.is_empty()
        && boolean(disabled).is_err()
    {
        let text = format!("invalid value for option cache-disabled: {disabled}");
        return Err(Error::Option(text));
    }
    let own: Options = options
        .iter()
        .filter(|(name, _)| !COMMON.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let unknown = |known: &[&str]| own.keys().find(|name| !known.contains(&name.as_str()));
    match driver {
        "json-file" => match unknown(&JSON_FILE) {
            Some(option) => Err(Error::UnknownJsonFileOption {
                option: option.clone(),
            }),
            None => Ok(()),
        },
        "local" => match unknown(&LOCAL) {
            Some(option) => Err(Error::UnknownLocalOption {
                option: option.clone(),
            }),
            None => Ok(()),
        },
        _ => remote::validate(driver, &own).map_err(Error::Option),
    }
}

/// Makes the description of a log that [`crate::Writer`] and [`crate::Reader`] take: checks the
/// options' values and works out what each entry is marked with. For the start of a container.
///
/// # Errors
/// As [`validate`], and [`Error::Initialize`] for values that make no sense.
pub fn log_spec(
    driver: &str,
    options: &Options,
    path: PathBuf,
    subject: &Subject,
) -> Result<LogSpec, Error> {
    validate(driver, options)?;
    limits(driver, options)?;
    let mut spec = LogSpec {
        driver: driver.to_owned(),
        options: options.clone(),
        path,
        ..LogSpec::default()
    };
    if driver == "json-file" {
        bound(&mut spec.options);
        spec.attrs = attributes::attributes(options, subject).map_err(Error::Initialize)?;
        let template = options.get("tag").map_or("", String::as_str);
        let tag = attributes::tag(template, subject).map_err(Error::Initialize)?;
        if !tag.is_empty() {
            spec.attrs.insert("tag".to_owned(), tag);
        }
    } else if is_remote(driver) {
        remote::complete(&mut spec, subject).map_err(Error::Initialize)?;
    }
    Ok(spec)
}

/// The format of a driver.
pub(crate) fn format(driver: &str) -> Result<Format, Error> {
    match driver {
        "json-file" => Ok(Format::JsonFile),
        "local" => Ok(Format::Local),
        "none" => Ok(Format::None),
        other if is_remote(other) => Ok(Format::Local),
        other => Err(Error::UnknownDriver(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn check(driver: &str, options: &[(&str, &str)]) -> Result<Limits, String> {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let path = PathBuf::from("log");
        log_spec(driver, &options, path, &Subject::default())
            .and_then(|spec| limits(driver, &spec.options))
            .map_err(|error| error.to_string())
    }

    type Wrong = (
        &'static str,
        [(&'static str, &'static str); 1],
        &'static str,
    );

    const WRONG: &[Wrong] = &[
        (
            "json-file",
            [("foo", "1")],
            "unknown log opt 'foo' for json-file log driver",
        ),
        (
            "local",
            [("tag", "x")],
            "unknown log opt 'tag' for log driver local",
        ),
        (
            "no",
            [("a", "b")],
            "error looking up logging plugin no: plugin \"no\" not found",
        ),
        (
            "json-file",
            [("mode", "weird")],
            "logger: logging mode not supported: weird",
        ),
        (
            "json-file",
            [("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("json-file", [("max-size", "abc")], "invalid size: 'abc'"),
        ("json-file", [("max-size", "-2")], "invalid size: '-2'"),
        ("json-file", [("max-size", "10q")], "invalid suffix: 'q'"),
        (
            "json-file",
            [("max-size", "0")],
            "max-size must be a positive number",
        ),
        (
            "json-file",
            [("max-file", "0")],
            "max-file cannot be less than 1",
        ),
        (
            "json-file",
            [("max-file", "x")],
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "json-file",
            [("compress", "y")],
            "strconv.ParseBool: parsing \"y\": invalid syntax",
        ),
        (
            "json-file",
            [("compress", "true")],
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (
            "local",
            [("max-size", "x")],
            "invalid value for max-size: x: invalid size: 'x'",
        ),
        (
            "local",
            [("max-file", "-1")],
            "max file count cannot be less than 0",
        ),
        (
            "local",
            [("max-file", "1")],
            "compression cannot be enabled when max file count is 1",
        ),
        (
            "local",
            [("compress", "x")],
            "error reading compress log option: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ];

    #[test]
    fn wrong_options_are_refused_in_dockerds_words() {
        let start = "failed to initialize logging driver: ";
        for (driver, options, text) in WRONG {
            let error = check(driver, options).unwrap_err();
            assert_eq!(error.strip_prefix(start).unwrap_or(&error), *text);
        }
        let anything = [("whatever", "it is")];
        assert!(check("none", &anything).is_ok());
    }

    #[test]
    fn sizes_are_decimal_and_the_defaults_are_dockerds() {
        let limits = check("json-file", &[("max-size", "1.5 KB"), ("max-file", "3")]).unwrap();
        assert_eq!(
            (limits.max_size, limits.max_files, limits.compress),
            (Some(1500), 3, false)
        );
        let limits = check("local", &[]).unwrap();
        assert_eq!(
            (limits.max_size, limits.max_files, limits.compress),
            (Some(20 << 20), 5, true)
        );
        let limits = check("json-file", &[("max-size", "-1")]).unwrap();
        assert_eq!((limits.max_size, limits.max_files), (None, 1));
        let cache = [
            ("gelf-address", "udp://a:1"),
            ("cache-max-size", "9k"),
            ("cache-max-file", "2"),
        ];
        let limits = check("gelf", &cache).unwrap();
        assert_eq!((limits.max_size, limits.max_files), (Some(9000), 2));
    }

    #[test]
    fn a_log_of_which_nothing_is_said_is_bounded() {
        let bound = |options: &[(&str, &str)]| {
            let limits = check("json-file", options).unwrap();
            (limits.max_size, limits.max_files, limits.compress)
        };
        assert_eq!(bound(&[]), (Some(100_000_000), 5, true));
        assert_eq!(bound(&[("max-file", "1")]), (Some(100_000_000), 1, false));
        assert_eq!(bound(&[("max-file", "3")]), (Some(100_000_000), 3, true));
        assert_eq!(
            bound(&[("compress", "false")]),
            (Some(100_000_000), 5, false)
        );
        assert_eq!(bound(&[("max-size", "1m")]), (Some(1_000_000), 1, false));
    }
}
