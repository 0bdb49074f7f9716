//! The drivers' options (`HostConfig.LogConfig.Config`), with dockerd's texts for what is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_shim_proto::LogSpec;

use crate::attributes::{self, Subject};
use crate::error::Error;

/// The format of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    JsonFile,
    Local,
    None,
}

/// How much is kept and in what shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A file of this many bytes is rotated.
    pub(crate) max_size: Option<u64>,
    /// How many files are kept, the current one included.
    pub(crate) max_files: usize,
    /// Compress rotated files.
    pub(crate) compress: bool,
}

type Options = BTreeMap<String, String>;

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
/// Options of every driver. A log in a local file never waits for anybody, so `non-blocking` asks for
/// what is the case anyway and its buffer is never needed.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];

/// Checks what dockerd checks when a container is created: the driver's name and its options' names.
///
/// # Errors
/// [`Error::UnknownDriver`] and the errors of options' names and modes, in dockerd's words.
pub fn validate(driver: &str, options: &Options) -> Result<(), Error> {
    let format = format(driver)?;
    if format == Format::None {
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
    for option in options
        .keys()
        .filter(|option| !COMMON.contains(&option.as_str()))
    {
        let option = option.clone();
        match format {
            Format::JsonFile if !JSON_FILE.contains(&option.as_str()) => {
                return Err(Error::UnknownJsonFileOption { option });
            }
            Format::Local if !LOCAL.contains(&option.as_str()) => {
                return Err(Error::UnknownLocalOption { option });
            }
            _ => {}
        }
    }
    Ok(())
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
    let attrs = match format(driver)? {
        Format::JsonFile => attributes::attributes(options, subject).map_err(Error::Initialize)?,
        Format::Local | Format::None => BTreeMap::new(),
    };
    Ok(LogSpec {
        driver: driver.to_owned(),
        options: options.clone(),
        path,
        attrs,
    })
}

/// The format of a driver.
pub(crate) fn format(driver: &str) -> Result<Format, Error> {
    match driver {
        "json-file" => Ok(Format::JsonFile),
        "local" => Ok(Format::Local),
        "none" => Ok(Format::None),
        other => Err(Error::UnknownDriver(other.to_owned())),
    }
}

/// The limits that a driver's options set.
pub(crate) fn limits(driver: &str, options: &Options) -> Result<Limits, Error> {
    match format(driver)? {
        Format::JsonFile => json_file_limits(options).map_err(Error::Initialize),
        Format::Local => local_limits(options).map_err(Error::Initialize),
        Format::None => Ok(Limits {
            max_size: None,
            max_files: 1,
            compress: false,
        }),
    }
}

fn json_file_limits(options: &Options) -> Result<Limits, String> {
    let max_size = options
        .get("max-size")
        .map(|text| human_size(text, 1000.0))
        .transpose()?;
    if max_size == Some(0) {
        return Err("max-size must be a positive number".to_owned());
    }
    let max_files = options
        .get("max-file")
        .map_or(Ok(1), |text| integer(text))?;
    let max_files = usize::try_from(max_files).unwrap_or(0);
    if max_files < 1 {
        return Err("max-file cannot be less than 1".to_owned());
    }
    let compress = options
        .get("compress")
        .map_or(Ok(false), |text| boolean(text))?;
    if compress && (max_files == 1 || max_size.is_none()) {
        return Err(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
                .to_owned(),
        );
    }
    Ok(Limits {
        max_size,
        max_files,
        compress,
    })
}

fn local_limits(options: &Options) -> Result<Limits, String> {
    let value = |name: &str| options.get(name).map(String::as_str);
    let invalid = |name: &str, text: &str, cause: String| {
        format!("invalid value for {name}: {text}: {cause}")
    };
    let max_size = match value("max-size") {
        None => 20 << 20,
        Some(text) => human_size(text, 1000.0).map_err(|cause| invalid("max-size", text, cause))?,
    };
    let max_files = match value("max-file") {
        None => 5,
        Some(text) => integer(text).map_err(|cause| invalid("max-file", text, cause))?,
    };
    let max_files = usize::try_from(max_files)
        .map_err(|_negative| "max file count cannot be less than 0".to_owned())?;
    let compress = match value("compress") {
        None => true,
        Some(text) => {
            boolean(text).map_err(|cause| format!("error reading compress log option: {cause}"))?
        }
    };
    if compress && max_files <= 1 {
        return Err("compression cannot be enabled when max file count is 1".to_owned());
    }
    Ok(Limits {
        max_size: (max_size > 0).then_some(max_size),
        max_files: max_files.max(1),
        compress,
    })
}

/// A size such as `10m`, in which `k` is `unit` bytes (docker/go-units, `FromHumanSize` and
/// `RAMInBytes`).
fn human_size(text: &str, unit: f64) -> Result<u64, String> {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | ' ');
    let end = text
        .rfind(numeric)
        .ok_or_else(|| format!("invalid size: '{text}'"))?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let size: f64 = number
        .parse()
        .map_err(|_error| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if size < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let bad = || format!("invalid suffix: '{suffix}'");
    let lower = suffix.to_ascii_lowercase();
    let power = match lower.as_bytes() {
        [] | [b'b'] => 0,
        [first] | [first, b'b'] | [first, b'i', b'b'] => {
            let known = b"kmgtp"
                .iter()
                .zip(1..)
                .find(|(letter, _)| *letter == first);
            known.map(|(_, power)| power).ok_or_else(bad)?
        }
        _ => return Err(bad()),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; what is too large saturates"
    )]
    Ok((size * unit.powi(power)) as u64)
}

/// Go's `strconv.Atoi`.
fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_error| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(driver: &str, options: &[(&str, &str)]) -> Result<Limits, String> {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let path = PathBuf::from("log");
        log_spec(driver, &options, path, &Subject::default())
            .and_then(|_| limits(driver, &options))
            .map_err(|error| error.to_string())
    }

    type Wrong = (
        &'static str,
        [(&'static str, &'static str); 1],
        &'static str,
    );

    const WRONG: [Wrong; 17] = [
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
        ("json-file", [("max-size", "-1")], "invalid size: '-1'"),
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
            let error = check(driver, &options).unwrap_err();
            assert_eq!(error.strip_prefix(start).unwrap_or(&error), text);
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
        let limits = check("json-file", &[]).unwrap();
        assert_eq!((limits.max_size, limits.max_files), (None, 1));
    }
}
