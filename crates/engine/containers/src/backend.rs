//! Plain data of one backend in the words of another.

use arca_logging::Subject;
use arca_runtime::{LogSpec, Rootfs};

use crate::Error;
use crate::config::Config;
use crate::container::Container;

/// A root filesystem of the storage, for the shim.
pub(crate) fn rootfs(rootfs: arca_storage::Rootfs) -> Rootfs {
    match rootfs {
        arca_storage::Rootfs::Overlay {
            lower,
            upper,
            work,
            options,
        } => Rootfs::Overlay {
            lower,
            upper,
            work,
            options,
        },
        arca_storage::Rootfs::Directory(path) => Rootfs::Directory(path),
    }
}

/// Where and how a container's output is logged.
///
/// # Errors
/// [`Error::Log`] for options that make no sense.
pub(crate) fn log_spec(container: &Container, config: &Config) -> Result<LogSpec, Error> {
    let log = &container.spec.host.log;
    let file = match log.driver.as_str() {
        "local" => "container.log".to_owned(),
        _ => format!("{}-json.log", container.id),
    };
    let path = container.dir.join(file);
    let subject = subject(container, config);
    arca_logging::log_spec(&log.driver, &log.options, path, &subject).map_err(Error::Log)
}

/// What log options may say about a container.
fn subject(container: &Container, config: &Config) -> Subject {
    let mut command = vec![container.path.to_string()];
    command.extend(container.args.iter().cloned());
    let hostname = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    Subject {
        id: container.id.to_string(),
        name: container.name.to_string(),
        image_id: container.image.to_string(),
        image_name: container.spec.image.clone(),
        command,
        created: Some(container.created),
        env: container.spec.env.clone(),
        labels: container.spec.labels.clone(),
        daemon: config.daemon_name.clone(),
        hostname,
    }
}
