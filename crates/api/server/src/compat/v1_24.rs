//! The last version in which the client removed containers itself.

use arca_wire::container::HostConfig;
use arca_wire::system::Info;

/// The client of `docker run --rm` removed the container; the field was not known.
pub(super) fn create(host: &mut HostConfig) {
    host.auto_remove = false;
}

/// `name=seccomp,profile=builtin` was `seccomp`.
pub(super) fn info(info: &mut Info) {
    for option in &mut info.security_options {
        let name = option
            .split(',')
            .find_map(|pair| pair.strip_prefix("name="));
        if let Some(name) = name {
            *option = name.to_owned();
        }
    }
}
