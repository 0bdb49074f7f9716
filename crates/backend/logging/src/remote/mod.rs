//! Drivers that send entries to somebody else: what their options mean, and the sending.
//!
//! Nothing is sent by whoever writes the log. [`Delivery`] reads the files that the writer has left and
//! remembers how far it has come, so the container never waits for a log server, and what was written
//! while there was none, or nobody to send, is sent later.

mod address;
mod check;
mod delivery;
mod encode;
mod fluentd;
mod gelf;
mod journald;
mod link;
mod msgpack;
mod syslog;
mod tls;

pub(crate) use check::validate;
pub use delivery::Delivery;

use std::path::Path;

use arca_shim_proto::LogSpec;

use crate::attributes::{self, Subject};
use crate::error::Error;
use crate::options::is_remote;

/// What tags are made of when nothing is said.
const TAG: &str = "{{.ID}}";

/// Is there something to be delivered of this log?
#[must_use]
pub fn is_delivered(spec: &LogSpec) -> bool {
    is_remote(&spec.driver)
}

/// Adds what entries are marked with, and checks what can only be checked where they are sent from.
pub(crate) fn complete(spec: &mut LogSpec, subject: &Subject) -> Result<(), String> {
    let option = |name: &str| spec.options.get(name).filter(|text| !text.is_empty());
    let tag = attributes::tag(option("tag").map_or(TAG, String::as_str), subject)?;
    tls::config(spec)?;
    if spec.driver == "journald" && !Path::new(journald::SOCKET).exists() {
        return Err("journald is not enabled on this host".to_owned());
    }
    if spec.driver != "syslog" {
        spec.attrs = attributes::attributes(&spec.options, subject)?;
    }
    let created = subject.created.unwrap_or(arca_types::Timestamp::ZERO);
    let info = [
        ("tag", tag),
        ("id", subject.id.clone()),
        ("name", subject.name.clone()),
        ("image_id", subject.image_id.clone()),
        ("image_name", subject.image_name.clone()),
        ("command", subject.command.join(" ")),
        ("created", created.to_string()),
        ("hostname", subject.hostname.clone()),
    ];
    spec.info = info.map(|(name, value)| (name.to_owned(), value)).into();
    Ok(())
}

/// Looks whether the receiver can be reached, as dockerd does before a container is started: not with
/// datagrams, nor with `fluentd-async`. It blocks for some seconds at most.
///
/// # Errors
/// [`Error::Initialize`] in dockerd's words.
pub fn reach(spec: &LogSpec) -> Result<(), Error> {
    if !is_remote(&spec.driver) {
        return Ok(());
    }
    let is_async = spec
        .options
        .get("fluentd-async")
        .is_some_and(|text| crate::values::boolean(text) == Ok(true));
    let target = address::target(&spec.driver, &spec.options).map_err(Error::Initialize)?;
    if is_async || matches!(target, address::Target::Udp(_)) {
        return Ok(());
    }
    let tls = tls::config(spec).map_err(Error::Initialize)?;
    match link::Link::open(&target, tls.as_ref(), link::TIMEOUT) {
        Ok(_link) => Ok(()),
        Err(error) => Err(Error::Initialize(address::dial(
            &spec.driver,
            &target,
            &error,
        ))),
    }
}
