//! How much of a log is kept.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::options::{Format, format, is_remote};
use crate::values::{boolean, human_size, integer};

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

/// The `max-size` of a log without bound.
const UNLIMITED: &str = "-1";

/// The bound of a `json-file` log of which the user says nothing: a log may fill no disk.
const BOUND: [(&str, &str); 3] = [
    ("max-size", "100m"),
    ("max-file", "5"),
    ("compress", "true"),
];

/// Adds the default bound to the options of `json-file`.
pub(crate) fn bound(options: &mut Options) {
    if options.contains_key("max-size") {
        return;
    }
    for (name, value) in BOUND {
        options
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    if options.get("max-file").is_some_and(|count| count == "1") {
        options.insert("compress".to_owned(), "false".to_owned());
    }
}

/// The limits that a driver's options set.
pub(crate) fn limits(driver: &str, options: &Options) -> Result<Limits, Error> {
    let limits = match format(driver)? {
        Format::JsonFile => json_file_limits(options),
        Format::Local if is_remote(driver) => local_limits(options, "cache-"),
        Format::Local => local_limits(options, ""),
        Format::None => Ok(Limits {
            max_size: None,
            max_files: 1,
            compress: false,
        }),
    };
    limits.map_err(Error::Initialize)
}

fn json_file_limits(options: &Options) -> Result<Limits, String> {
    let max_size = match options.get("max-size").map(String::as_str) {
        None | Some(UNLIMITED) => None,
        Some(text) => Some(human_size(text, 1000.0)?),
    };
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

/// The limits of a file in the format of `local`, whose options begin with `prefix`.
fn local_limits(options: &Options, prefix: &str) -> Result<Limits, String> {
    let value = |name: &str| options.get(&format!("{prefix}{name}")).map(String::as_str);
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
