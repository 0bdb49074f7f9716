//! Where entries are sent.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

type Options = BTreeMap<String, String>;

/// A receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Host and port.
    Udp(String),
    /// Host and port.
    Tcp(String),
    /// Host and port.
    Tls(String),
    Unix(PathBuf),
    Datagram(PathBuf),
    /// The host's own syslog, wherever that is.
    LocalSyslog,
}

/// A URL, as far as addresses need it.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    scheme: String,
    host: String,
    path: String,
}

/// Go's `url.Parse`.
fn parse(text: &str) -> Result<Url, String> {
    let fail = |why: String| Err(format!("parse {text:?}: {why}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let is_scheme = |scheme: &&str| scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        if scheme.is_some() && scheme.filter(is_scheme).is_none() {
            return fail("first path segment in URL cannot contain colon".to_owned());
        }
        return Ok(Url {
            scheme: scheme.unwrap_or_default().to_lowercase(),
            host: String::new(),
            path: text.to_owned(),
        });
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_user, host)| host);
    if let Some(at) = host.find('%').filter(|_| !host.starts_with('[')) {
        let escape = host.get(at..(at + 3).min(host.len())).unwrap_or("%");
        return fail(format!("invalid URL escape {escape:?}"));
    }
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    if let Some(colon) = after_address.rfind(':') {
        let port = after_address.get(colon..).unwrap_or_default();
        if !port.chars().skip(1).all(|c| c.is_ascii_digit()) {
            return fail(format!("invalid port {port:?} after host"));
        }
    }
    Ok(Url {
        scheme: scheme.to_lowercase(),
        host: host.to_owned(),
        path: path.to_owned(),
    })
}

/// The host with its port; `None` when there is no port.
fn with_port(host: &str) -> Option<&str> {
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    let is_one = after_address.matches(':').count() == 1;
    is_one.then_some(host)
}

fn join(host: &str, port: u16) -> String {
    let host = host.trim_matches(['[', ']']);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The receiver that the options name; an error is why there is none.
pub(crate) fn target(driver: &str, options: &Options) -> Result<Target, String> {
    let address = |name: &str| options.get(name).map_or("", String::as_str);
    match driver {
        "syslog" => syslog(address("syslog-address")),
        "gelf" => gelf(address("gelf-address")),
        "fluentd" => {
            let given = address("fluentd-address");
            fluentd(given).map_err(|why| format!("invalid fluentd-address ({given}): {why}"))
        }
        _ => Ok(Target::Datagram(PathBuf::from(super::journald::SOCKET))),
    }
}

fn syslog(address: &str) -> Result<Target, String> {
    if address.is_empty() {
        return Ok(Target::LocalSyslog);
    }
    let url = parse(address)?;
    let host = || match with_port(&url.host) {
        Some(host) => host.to_owned(),
        None => join(&url.host, 514),
    };
    match url.scheme.as_str() {
        "unix" | "unixgram" => {
            if let Err(error) = std::fs::metadata(&url.path) {
                return Err(format!("stat {}: {}", url.path, reason(&error)));
            }
            let path = PathBuf::from(&url.path);
            Ok(if url.scheme == "unix" {
                Target::Unix(path)
            } else {
                Target::Datagram(path)
            })
        }
        "udp" => Ok(Target::Udp(host())),
        "tcp" => Ok(Target::Tcp(host())),
        "tcp+tls" => Ok(Target::Tls(host())),
        other => Err(format!("unsupported scheme: '{other}'")),
    }
}

fn gelf(address: &str) -> Result<Target, String> {
    if address.is_empty() {
        return Err("gelf-address is a required parameter".to_owned());
    }
    let url = parse(address)?;
    if !matches!(url.scheme.as_str(), "udp" | "tcp") {
        return Err("gelf: endpoint needs to be TCP or UDP".to_owned());
    }
    let host = with_port(&url.host)
        .ok_or("gelf: please provide gelf-address as proto://host:port")?
        .to_owned();
    Ok(if url.scheme == "udp" {
        Target::Udp(host)
    } else {
        Target::Tcp(host)
    })
}

fn fluentd(address: &str) -> Result<Target, String> {
    let address = match address {
        "" => "tcp://127.0.0.1:24224".to_owned(),
        given if given.contains("://") => given.to_owned(),
        given => format!("tcp://{given}"),
    };
    let url = parse(&address)?;
    match url.scheme.as_str() {
        "unix" if url.path.trim_start_matches('/').is_empty() => Err("path is empty".to_owned()),
        "unix" => Ok(Target::Unix(PathBuf::from(url.path))),
        "tcp" | "tls" if !url.path.is_empty() => {
            Err("should not contain a path element".to_owned())
        }
        scheme @ ("tcp" | "tls") => {
            let host = if url.host.starts_with(':') || url.host.is_empty() {
                format!("127.0.0.1{}", url.host)
            } else {
                url.host.clone()
            };
            let host = match with_port(&host) {
                Some(host) => host.to_owned(),
                None => join(&host, 24224),
            };
            Ok(if scheme == "tls" {
                Target::Tls(host)
            } else {
                Target::Tcp(host)
            })
        }
        other => Err(format!("unsupported scheme: '{other}'")),
    }
}

/// An error of the system in Go's words: as Rust's, with a small letter and without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// A receiver that cannot be reached, in Go's words.
pub(crate) fn dial(driver: &str, target: &Target, error: &io::Error) -> String {
    let unix = |network: &str, path: &Path| format!("dial {network} {}: connect", path.display());
    let (host, what) = match target {
        Target::Udp(host) => (host.as_str(), format!("dial udp {host}: connect")),
        Target::Tcp(host) | Target::Tls(host) => {
            (host.as_str(), format!("dial tcp {host}: connect"))
        }
        Target::Unix(path) => ("", unix("unix", path)),
        Target::Datagram(path) => ("", unix("unixgram", path)),
        Target::LocalSyslog => return "Unix syslog delivery error".to_owned(),
    };
    let text = format!("{what}: {}", reason(error));
    match driver {
        "gelf" => format!("gelf: cannot connect to GELF endpoint: {host} {text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(driver: &str, address: &str) -> Result<Target, String> {
        let options = [(format!("{driver}-address"), address.to_owned())].into();
        target(driver, &options)
    }

    #[test]
    fn addresses_get_their_default_ports() {
        for (driver, address, expected) in [
            ("syslog", "", Target::LocalSyslog),
            ("syslog", "udp://a", Target::Udp("a:514".to_owned())),
            ("syslog", "tcp://[::1]", Target::Tcp("[::1]:514".to_owned())),
            (
                "syslog",
                "tcp+tls://a:6514",
                Target::Tls("a:6514".to_owned()),
            ),
            ("gelf", "tcp://a:1", Target::Tcp("a:1".to_owned())),
            ("fluentd", "", Target::Tcp("127.0.0.1:24224".to_owned())),
            ("fluentd", "a", Target::Tcp("a:24224".to_owned())),
            (
                "fluentd",
                "tls://[::1]:9",
                Target::Tls("[::1]:9".to_owned()),
            ),
            ("fluentd", "unix:///run/f", Target::Unix("/run/f".into())),
        ] {
            assert_eq!(of(driver, address), Ok(expected), "{address}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_are_refused_in_dockerds_words() {
        for (driver, address, why) in [
            ("syslog", "foo", "unsupported scheme: ''"),
            ("syslog", "http://a", "unsupported scheme: 'http'"),
            (
                "syslog",
                "unix:///nonexistent",
                "stat /nonexistent: no such file or directory",
            ),
            (
                "syslog",
                "udp://a:b:c",
                "parse \"udp://a:b:c\": invalid port \":c\" after host",
            ),
            (
                "syslog",
                "tcp://%zz",
                "parse \"tcp://%zz\": invalid URL escape \"%zz\"",
            ),
            ("gelf", "", "gelf-address is a required parameter"),
            ("gelf", "http://a", "gelf: endpoint needs to be TCP or UDP"),
            (
                "gelf",
                "udp://a",
                "gelf: please provide gelf-address as proto://host:port",
            ),
            (
                "fluentd",
                "http://a",
                "invalid fluentd-address (http://a): unsupported scheme: 'http'",
            ),
            (
                "fluentd",
                "tcp://a/b",
                "invalid fluentd-address (tcp://a/b): should not contain a path element",
            ),
            (
                "fluentd",
                "a:zz",
                "invalid fluentd-address (a:zz): parse \"tcp://a:zz\": invalid port \":zz\" after host",
            ),
            (
                "fluentd",
                "unix://",
                "invalid fluentd-address (unix://): path is empty",
            ),
        ] {
            assert_eq!(of(driver, address).unwrap_err(), why, "{address}");
        }
    }
}
