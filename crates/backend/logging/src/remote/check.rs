//! The options of drivers that send entries elsewhere, checked when a container is created.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::{Target, target};
use super::syslog;
use crate::values::{boolean, duration, human_size, integer, unsigned};

type Options = BTreeMap<String, String>;

/// Options that say what entries are marked with.
const MARKS: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
const SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];
const FLUENTD: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];

/// Checks a driver's own options; an error is what dockerd says.
pub(crate) fn validate(driver: &str, options: &Options) -> Result<(), String> {
    match driver {
        "syslog" => {
            known(options, &SYSLOG, driver)?;
            target(driver, options)?;
            syslog::facility(options)?;
            syslog::Format::of(options).map(drop)
        }
        "gelf" => gelf(options),
        "fluentd" => {
            known(options, &FLUENTD, driver)?;
            fluentd(options)
        }
        _ => known(options, &[], driver),
    }
}

fn known(options: &Options, own: &[&str], driver: &str) -> Result<(), String> {
    let is_known = |name: &str| MARKS.contains(&name) || own.contains(&name);
    match options.keys().find(|name| !is_known(name)) {
        Some(name) => Err(format!("unknown log opt '{name}' for {driver} log driver")),
        None => Ok(()),
    }
}

fn gelf(options: &Options) -> Result<(), String> {
    let is_tcp = matches!(target("gelf", options)?, Target::Tcp(_));
    for (name, value) in options {
        match name.as_str() {
            "gelf-address" => {}
            "gelf-compression-level" | "gelf-compression-type" if is_tcp => {
                return Err("compression is only supported on UDP".to_owned());
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay" if !is_tcp => {
                return Err(format!("{name:?} is only valid for TCP"));
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay" => {
                if !integer(value).is_ok_and(|number| number >= 0) {
                    return Err(format!("{name:?} must be a positive integer"));
                }
            }
            "gelf-compression-level" => {
                if !integer(value).is_ok_and(|level| (-1..=9).contains(&level)) {
                    return Err(unknown_value(name, value));
                }
            }
            "gelf-compression-type" => {
                if !matches!(value.as_str(), "gzip" | "zlib" | "none") {
                    return Err(unknown_value(name, value));
                }
            }
            name if MARKS.contains(&name) => {}
            name => return Err(format!("unknown log opt {name:?} for gelf log driver")),
        }
    }
    Ok(())
}

fn unknown_value(name: &str, value: &str) -> String {
    format!("unknown value {value:?} for log opt {name:?} for gelf log driver")
}

fn fluentd(options: &Options) -> Result<(), String> {
    let value = |name: &str| options.get(name).filter(|text| !text.is_empty());
    target("fluentd", options)?;
    if let Some(text) = value("fluentd-buffer-limit") {
        human_size(text, 1024.0)?;
    }
    if let Some(text) = value("fluentd-retry-wait") {
        duration(text)?;
    }
    if let Some(text) = value("fluentd-max-retries") {
        unsigned(text)?;
    }
    if let Some(text) = value("fluentd-async") {
        boolean(text)?;
    }
    if let Some(text) = value("fluentd-async-reconnect-interval") {
        let invalid =
            |why: String| format!("invalid value for fluentd-async-reconnect-interval: {why}");
        let interval = duration(text).map_err(invalid)?;
        if !(Duration::from_millis(100)..=Duration::from_secs(10)).contains(&interval)
            && !interval.is_zero()
        {
            let shown = arca_types::go_duration(interval);
            let why = format!("value ({shown:?}) must be between 100ms and 10s");
            return Err(invalid(why));
        }
    }
    for name in ["fluentd-sub-second-precision", "fluentd-request-ack"] {
        if let Some(text) = value(name) {
            boolean(text)?;
        }
    }
    if let Some(text) = value("fluentd-write-timeout") {
        duration(text).map_err(|why| {
            format!("invalid value for fluentd-write-timeout: value must be a duration: {why}")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Driver, options, and why they are refused.
    type Wrong = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
    );

    const WRONG: &[Wrong] = &[
        (
            "syslog",
            &[("x", "")],
            "unknown log opt 'x' for syslog log driver",
        ),
        (
            "syslog",
            &[("syslog-facility", "zz")],
            "invalid syslog facility",
        ),
        (
            "syslog",
            &[("syslog-facility", "24")],
            "invalid syslog facility",
        ),
        (
            "syslog",
            &[("syslog-format", "zz")],
            "Invalid syslog format",
        ),
        (
            "gelf",
            &[("gelf-address", "udp://a:1"), ("x", "y")],
            "unknown log opt \"x\" for gelf log driver",
        ),
        (
            "gelf",
            &[
                ("gelf-address", "udp://a:1"),
                ("gelf-compression-level", "10"),
            ],
            "unknown value \"10\" for log opt \"gelf-compression-level\" for gelf log driver",
        ),
        (
            "gelf",
            &[
                ("gelf-address", "tcp://a:1"),
                ("gelf-compression-type", "gzip"),
            ],
            "compression is only supported on UDP",
        ),
        (
            "gelf",
            &[
                ("gelf-address", "udp://a:1"),
                ("gelf-tcp-max-reconnect", "1"),
            ],
            "\"gelf-tcp-max-reconnect\" is only valid for TCP",
        ),
        (
            "gelf",
            &[
                ("gelf-address", "tcp://a:1"),
                ("gelf-tcp-reconnect-delay", "zz"),
            ],
            "\"gelf-tcp-reconnect-delay\" must be a positive integer",
        ),
        (
            "fluentd",
            &[("fluentd-async-connect", "true")],
            "unknown log opt 'fluentd-async-connect' for fluentd log driver",
        ),
        (
            "fluentd",
            &[("fluentd-async-reconnect-interval", "1h")],
            "invalid value for fluentd-async-reconnect-interval: value (\"1h0m0s\") must be between \
             100ms and 10s",
        ),
        (
            "fluentd",
            &[("fluentd-buffer-limit", "zz")],
            "invalid size: 'zz'",
        ),
        (
            "fluentd",
            &[("fluentd-max-retries", "zz")],
            "strconv.ParseUint: parsing \"zz\": invalid syntax",
        ),
        (
            "fluentd",
            &[("fluentd-write-timeout", "zz")],
            "invalid value for fluentd-write-timeout: value must be a duration: time: invalid \
             duration \"zz\"",
        ),
        (
            "journald",
            &[("x", "y")],
            "unknown log opt 'x' for journald log driver",
        ),
    ];

    #[test]
    fn wrong_options_are_refused_in_dockerds_words() {
        for (driver, options, why) in WRONG {
            let options = options
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            assert_eq!(validate(driver, &options.collect()).unwrap_err(), *why);
        }
    }
}
