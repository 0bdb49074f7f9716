//! Plain data of one backend in the words of another.

use std::path::PathBuf;

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
/// [`Error::Failed`] for options that make no sense.
pub(crate) fn log_spec(container: &Container, config: &Config) -> Result<LogSpec, Error> {
    let log = &container.spec.host.log;
    let subject = subject(container, config);
    arca_logging::log_spec(&log.driver, &log.options, log_path(container), &subject)
        .map_err(not_logged)
}

/// A log that cannot be written, in dockerd's words.
pub(crate) fn not_logged(error: arca_logging::Error) -> Error {
    let error = arca_types::chain(&error);
    Error::Failed(format!("failed to create task for container: {error}"))
}

/// Where a container's output was logged.
pub(crate) fn kept_log(container: &Container) -> LogSpec {
    let log = &container.spec.host.log;
    LogSpec {
        driver: log.driver.clone(),
        options: log.options.clone(),
        path: log_path(container),
        ..LogSpec::default()
    }
}

fn log_path(container: &Container) -> PathBuf {
    match container.spec.host.log.driver.as_str() {
        "local" => container.dir.join("container.log"),
        "json-file" | "none" => container.dir.join(format!("{}-json.log", container.id)),
        _ => container.dir.join("container-cached.log"),
    }
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
