//! What a container inherits from its image, and the daemon's defaults.

use std::collections::BTreeSet;
use std::time::Duration;

use arca_images::RunConfig;

use crate::Error;
use crate::config::Config;
use crate::model::{
    CgroupnsMode, ContainerSpec, HealthTest, Healthcheck, IpcMode, PidMode, Port, Resources,
};
use crate::spec::{MASKED_PATHS, READONLY_PATHS, mounts::SHM_SIZE};

/// Fills in what the client left to the image.
///
/// # Errors
/// [`Error::Invalid`] when there is no command, or the image says something that cannot be.
pub(crate) fn image(spec: &mut ContainerSpec, image: &RunConfig) -> Result<(), Error> {
    if spec.user.is_empty() {
        spec.user.clone_from(&image.user);
    }
    for port in image.exposed_ports.iter().flatten() {
        spec.exposed_ports.extend(Port::range(port)?);
    }
    merge_env(&mut spec.env, image.env.as_deref().unwrap_or_default());
    for (name, value) in image.labels.iter().flatten() {
        spec.labels
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    merge_command(spec, image)?;
    merge_health(spec, image)?;
    if spec.working_dir.is_empty() {
        spec.working_dir.clone_from(&image.working_dir);
    }
    let volumes: BTreeSet<String> = image.volumes.iter().flatten().cloned().collect();
    if !volumes.is_empty() {
        spec.volumes.get_or_insert_default().extend(volumes);
    }
    // Nothing is the same as none.
    spec.volumes = spec.volumes.take().filter(|volumes| !volumes.is_empty());
    if spec.stop_signal.as_deref().is_none_or(str::is_empty) {
        spec.stop_signal.clone_from(&image.stop_signal);
    }
    Ok(())
}

/// Variables of the image that the client did not set come after its own.
fn merge_env(own: &mut Vec<String>, image: &[String]) {
    fn name(variable: &str) -> &str {
        variable.split_once('=').map_or(variable, |(name, _)| name)
    }
    for variable in image {
        if !own.iter().any(|other| name(other) == name(variable)) {
            own.push(variable.clone());
        }
    }
}

fn merge_command(spec: &mut ContainerSpec, image: &RunConfig) -> Result<(), Error> {
    let empty = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if empty(&spec.entrypoint) {
        if empty(&spec.cmd) {
            spec.cmd.clone_from(&image.cmd);
            spec.args_escaped |= image.args_escaped;
        }
        if spec.entrypoint.is_none() {
            spec.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // An entry point of one empty word takes the image's away.
    if matches!(spec.entrypoint.as_deref(), Some([word]) if word.is_empty()) {
        spec.entrypoint = None;
    }
    if empty(&spec.entrypoint) && empty(&spec.cmd) {
        return Err(Error::Invalid("no command specified".to_owned()));
    }
    Ok(())
}

fn merge_health(spec: &mut ContainerSpec, image: &RunConfig) -> Result<(), Error> {
    let Some(theirs) = &image.healthcheck else {
        return Ok(());
    };
    let nanos = |value: i64| Duration::from_nanos(u64::try_from(value).unwrap_or_default());
    let theirs = Healthcheck {
        test: HealthTest::parse(theirs.test.as_deref().unwrap_or_default())?,
        interval: nanos(theirs.interval),
        timeout: nanos(theirs.timeout),
        start_period: nanos(theirs.start_period),
        start_interval: nanos(theirs.start_interval),
        retries: u32::try_from(theirs.retries).unwrap_or_default(),
    };
    let Some(own) = &mut spec.healthcheck else {
        spec.healthcheck = Some(theirs);
        return Ok(());
    };
    if own.test == HealthTest::Inherit {
        own.test = theirs.test;
    }
    let fill = |own: &mut Duration, theirs: Duration| {
        if own.is_zero() {
            *own = theirs;
        }
    };
    fill(&mut own.interval, theirs.interval);
    fill(&mut own.timeout, theirs.timeout);
    fill(&mut own.start_period, theirs.start_period);
    fill(&mut own.start_interval, theirs.start_interval);
    if own.retries == 0 {
        own.retries = theirs.retries;
    }
    Ok(())
}

/// Fills in what the client left to the daemon.
///
/// # Errors
/// [`Error::Invalid`] for a runtime that is not configured.
pub(crate) fn daemon(
    spec: &mut ContainerSpec,
    config: &Config,
    unified: bool,
) -> Result<(), Error> {
    let host = &mut spec.host;
    if host.runtime.is_empty() {
        host.runtime.clone_from(&config.default_runtime);
    }
    if !config.runtimes.contains_key(&host.runtime) {
        return Err(Error::Invalid(format!(
            "unknown or invalid runtime name: {}",
            host.runtime
        )));
    }
    if host.log.driver.is_empty() {
        host.log.driver.clone_from(&config.log.driver);
    }
    if host.log.driver == config.log.driver {
        for (name, value) in &config.log.options {
            host.log
                .options
                .entry(name.clone())
                .or_insert_with(|| value.clone());
        }
    }
    if host.shm_size == 0 {
        host.shm_size = if config.shm_size > 0 {
            config.shm_size
        } else {
            SHM_SIZE
        };
    }
    if host.ipc_mode.is_none() {
        host.ipc_mode = Some(config.ipc_mode.clone());
    }
    if host.cgroupns_mode.is_none() {
        host.cgroupns_mode = Some(match config.cgroupns_mode {
            _ if host.privileged && !unified => CgroupnsMode::Host,
            Some(mode) => mode,
            None if unified => CgroupnsMode::Private,
            None => CgroupnsMode::Host,
        });
    }
    let shares_host = host.ipc_mode == Some(IpcMode::Host) || host.pid_mode == PidMode::Host;
    if host.security_opt.is_none() && (host.privileged || shares_host) {
        host.security_opt = Some(vec!["label=disable".to_owned()]);
    }
    fill_limits(&mut host.resources);
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    if !host.privileged {
        host.masked_paths
            .get_or_insert_with(|| owned(&MASKED_PATHS));
        host.readonly_paths
            .get_or_insert_with(|| owned(&READONLY_PATHS));
    }
    Ok(())
}

fn fill_limits(limits: &mut Resources) {
    if limits.memory > 0 && limits.memory_swap == 0 {
        limits.memory_swap = limits.memory.saturating_mul(2);
    }
    if limits.oom_kill_disable.is_none() {
        limits.oom_kill_disable = Some(false);
    }
    if limits.pids_limit == Some(0) {
        limits.pids_limit = None;
    }
}

/// Splits the merged command into the program and its arguments.
pub(crate) fn command(spec: &ContainerSpec) -> (String, Vec<String>) {
    let mut words = spec
        .entrypoint
        .iter()
        .flatten()
        .chain(spec.cmd.iter().flatten())
        .cloned();
    let path = words.next().unwrap_or_default();
    (path, words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn merged(entrypoint: Option<Vec<String>>, cmd: Option<Vec<String>>) -> (String, Vec<String>) {
        let mut spec = ContainerSpec {
            entrypoint,
            cmd,
            ..ContainerSpec::default()
        };
        let config = RunConfig {
            entrypoint: words(&["entry", "e1"]),
            cmd: words(&["c1"]),
            ..RunConfig::default()
        };
        image(&mut spec, &config).unwrap();
        command(&spec)
    }

    #[test]
    fn a_command_replaces_the_images_and_keeps_its_entry_point() {
        let of = |path: &str, args: &[&str]| (path.to_owned(), words(args).unwrap());
        assert_eq!(merged(None, None), of("entry", &["e1", "c1"]));
        assert_eq!(merged(None, words(&["x"])), of("entry", &["e1", "x"]));
        assert_eq!(merged(words(&["own"]), None), of("own", &[]));
        assert_eq!(merged(words(&[""]), words(&["x"])), of("x", &[]));
    }

    #[test]
    fn no_command_at_all_is_refused() {
        let mut spec = ContainerSpec::default();
        let error = image(&mut spec, &RunConfig::default()).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }

    #[test]
    fn variables_of_the_image_follow_those_of_the_client() {
        let mut env = vec!["A=own".to_owned()];
        merge_env(&mut env, &["PATH=/bin".to_owned(), "A=image".to_owned()]);
        assert_eq!(env, ["A=own", "PATH=/bin"]);
    }

    #[test]
    fn memory_brings_as_much_swap() {
        let mut spec = ContainerSpec::default();
        spec.host.resources.memory = 64 << 20;
        daemon(&mut spec, &Config::default(), false).unwrap();
        assert_eq!(spec.host.resources.memory_swap, 128 << 20);
        assert_eq!(spec.host.cgroupns_mode, Some(CgroupnsMode::Host));
        spec.host.runtime = "foo".into();
        let error = daemon(&mut spec, &Config::default(), false).unwrap_err();
        assert_eq!(error.to_string(), "unknown or invalid runtime name: foo");
    }
}
