//! Failures below HTTP, in the words that clients of dockerd know.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use crate::config::host_of;
use crate::error::Error;

/// Says what happened to a request to `authority` (`host[:port]`).
pub(crate) fn describe(error: &reqwest::Error, authority: &str, default_port: u16) -> Error {
    if let Some(tls) = cause::<rustls::Error>(error) {
        return Error::Transport {
            text: tls_text(tls, host_of(authority)),
            retry: false,
        };
    }
    let texts = causes(error);
    if texts
        .iter()
        .any(|text| text.contains("dns error") || text.contains("failed to lookup"))
    {
        let text = format!("dial tcp: lookup {}: no such host", host_of(authority));
        return Error::Transport { text, retry: false };
    }
    let dialing = error.is_connect();
    if error.is_timeout() {
        let text = if dialing {
            format!(
                "dial tcp {}: i/o timeout",
                with_port(authority, default_port)
            )
        } else {
            "net/http: request canceled (Client.Timeout or context cancellation while reading body)"
                .to_owned()
        };
        return Error::Transport { text, retry: true };
    }
    if let Some(io) = cause::<io::Error>(error) {
        let (call, retry) = if dialing {
            ("connect", false)
        } else {
            ("read", true)
        };
        if let Some(what) = io_text(io) {
            let prefix = if dialing { "dial tcp" } else { "read tcp" };
            let text = format!(
                "{prefix} {}: {call}: {what}",
                with_port(authority, default_port)
            );
            return Error::Transport { text, retry };
        }
    }
    if texts
        .iter()
        .any(|text| text.contains("incomplete") || text.contains("end of file"))
    {
        return Error::Transport {
            text: "unexpected EOF".to_owned(),
            retry: true,
        };
    }
    let text = texts
        .last()
        .cloned()
        .unwrap_or_else(|| "connection failed".to_owned());
    Error::Transport {
        text,
        retry: !dialing,
    }
}

fn with_port(authority: &str, default_port: u16) -> String {
    let host = host_of(authority);
    if authority.len() > host.len() + usize::from(authority.starts_with('[')) * 2 {
        authority.to_owned()
    } else {
        format!("{authority}:{default_port}")
    }
}

fn io_text(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some("connection refused"),
        io::ErrorKind::ConnectionReset => Some("connection reset by peer"),
        io::ErrorKind::HostUnreachable => Some("no route to host"),
        io::ErrorKind::NetworkUnreachable => Some("network is unreachable"),
        io::ErrorKind::TimedOut => Some("connection timed out"),
        io::ErrorKind::BrokenPipe => Some("broken pipe"),
        _ => None,
    }
}

fn tls_text(error: &rustls::Error, host: &str) -> String {
    let problem = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate_text(certificate, host),
        rustls::Error::InvalidMessage(_) => {
            return "http: server gave HTTP response to HTTPS client".to_owned();
        }
        other => return format!("remote error: tls: {other}"),
    };
    format!("tls: failed to verify certificate: x509: {problem}")
}

fn certificate_text(error: &CertificateError, host: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not valid for {host}")
        }
        other => other.to_string(),
    }
}

/// Finds the innermost cause of a type. An `io::Error` may wrap what is looked for.
fn cause<'e, T: StdError + 'static>(error: &'e reqwest::Error) -> Option<&'e T> {
    let mut next: Option<&'e (dyn StdError + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = next {
        if let Some(wanted) = error.downcast_ref::<T>() {
            found = Some(wanted);
        }
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    found
}

/// The texts of an error and its causes. The outermost of reqwest holds the address: left out.
fn causes(error: &reqwest::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_with_its_port() {
        assert_eq!(with_port("x:5000", 443), "x:5000");
        assert_eq!(with_port("x", 443), "x:443");
        assert_eq!(with_port("[::1]:5000", 443), "[::1]:5000");
        assert_eq!(with_port("[::1]", 80), "[::1]:80");
    }
}
