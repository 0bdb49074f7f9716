//! Devices that drivers hand through (`DeviceRequests`): those of CDI specifications, by their names
//! (`--device vendor.com/class=name`) or by what they are (`--gpus`).

use arca_cdi::{Edits, Registry};

use crate::Error;
use crate::actor::Actor;
use crate::model::DeviceRequest;
use crate::spec::{self, devices, oci};
use crate::start::blocking;

/// Kinds of devices that are GPUs, by the driver that asks for them.
const GPUS: [(&str, &str); 2] = [("nvidia", "nvidia.com/gpu"), ("amd", "amd.com/gpu")];

impl Actor {
    /// Adds to the configuration what the container's devices need.
    ///
    /// # Errors
    /// [`Error::Failed`] for a request that nothing here can satisfy, [`Error::Cdi`] for a device
    /// that is not described or not there.
    pub(crate) async fn inject_devices(&self, oci: &mut oci::Spec) -> Result<(), Error> {
        let requests = self.c.spec.host.resources.device_requests.clone();
        let Some(requests) = requests.filter(|requests| !requests.is_empty()) else {
            return Ok(());
        };
        let registry = Registry::new(self.service.config().cdi_dirs.clone());
        let edits = blocking(move || {
            for failure in registry.failures() {
                let error = arca_types::chain(&failure);
                tracing::warn!(error, "a CDI specification is not read");
            }
            let names = names(&requests, &registry.devices())?;
            registry.edits(&names).map_err(Error::Cdi)
        })
        .await?;
        apply(&edits, oci);
        Ok(())
    }
}

/// The full names of the devices that are asked for, of those that are `described`.
fn names(requests: &[DeviceRequest], described: &[String]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for request in requests {
        if request.driver == "cdi" {
            names.extend(request.device_ids.iter().flatten().cloned());
        } else {
            names.extend(gpus(request, described)?);
        }
    }
    Ok(names)
}

/// GPUs of the first vendor of whom there are any.
fn gpus(request: &DeviceRequest, described: &[String]) -> Result<Vec<String>, Error> {
    let is_gpu = |all: &Vec<String>| all.iter().any(|one| one == "gpu");
    let wants_gpu = request.capabilities.iter().flatten().any(is_gpu);
    let of_kind = |kind: &str| -> Vec<&str> {
        let name = |full: &'_ String| full.strip_prefix(kind)?.strip_prefix('=').map(str::len);
        let of = described.iter().filter_map(|full| {
            let length = name(full)?;
            full.get(full.len() - length..)
        });
        of.collect()
    };
    let found = GPUS
        .iter()
        .filter(|(driver, _)| request.driver.is_empty() || request.driver == *driver)
        .map(|(_, kind)| (*kind, of_kind(kind)))
        .find(|(_, devices)| !devices.is_empty());
    let Some((kind, devices)) = found.filter(|_| wants_gpu) else {
        return Err(no_driver(request));
    };
    let ids = request.device_ids.as_deref().unwrap_or_default();
    let full = |id: &str| format!("{kind}={id}");
    if !ids.is_empty() {
        if request.count != 0 {
            let text = "cannot set both Count and DeviceIDs on device request";
            return Err(Error::Invalid(text.to_owned()));
        }
        return Ok(ids.iter().map(|id| full(id)).collect());
    }
    let mut numbers: Vec<u32> = devices.iter().filter_map(|id| id.parse().ok()).collect();
    numbers.sort_unstable();
    let wanted = match usize::try_from(request.count) {
        Ok(count) if count > numbers.len() => return Err(no_driver(request)),
        Ok(count) => count,
        Err(_negative) if devices.contains(&"all") => return Ok(vec![full("all")]),
        Err(_negative) => numbers.len(),
    };
    let first = numbers.iter().take(wanted);
    Ok(first.map(|number| full(&number.to_string())).collect())
}

/// In dockerd's words.
fn no_driver(request: &DeviceRequest) -> Error {
    let alternatives = request.capabilities.iter().flatten();
    let alternatives: Vec<String> = alternatives
        .map(|all| format!("[{}]", all.join(" ")))
        .collect();
    Error::Failed(format!(
        "could not select device driver \"{}\" with capabilities: [{}]",
        request.driver,
        alternatives.join(" ")
    ))
}

/// Puts the edits into the configuration; each replaces what has its name.
fn apply(edits: &Edits, oci: &mut oci::Spec) {
    spec::override_with(&mut oci.process.env, &edits.env);
    let user = &mut oci.process.user;
    for gid in &edits.additional_gids {
        if !user.additional_gids.contains(gid) {
            user.additional_gids.push(*gid);
        }
    }
    let (uid, gid) = (user.uid, user.gid);
    for node in &edits.device_nodes {
        let all = &mut oci.linux.devices;
        all.retain(|other| other.path != node.path);
        all.push(oci::Device {
            path: node.path.clone(),
            kind: node.kind,
            major: node.major,
            minor: node.minor,
            file_mode: node.file_mode & 0o777,
            uid: node.uid.unwrap_or(uid),
            gid: node.gid.unwrap_or(gid),
        });
        if node.kind != 'p' {
            oci.linux.resources.devices.push(devices::allow(
                node.kind,
                node.major,
                node.minor,
                &node.access,
            ));
        }
    }
    for mount in &edits.mounts {
        add_mount(&mut oci.mounts, mount);
    }
    for hook in &edits.hooks {
        let of = oci.hooks.entry(hook.moment.clone()).or_default();
        of.push(oci::Hook {
            path: hook.path.to_string_lossy().into_owned(),
            args: hook.args.clone(),
            env: hook.env.clone(),
            timeout: hook.timeout,
        });
    }
}

/// Adds a mount before those below it.
fn add_mount(mounts: &mut Vec<oci::Mount>, mount: &arca_cdi::Mount) {
    mounts.retain(|other| other.destination != mount.destination);
    let below = format!("{}/", mount.destination.trim_end_matches('/'));
    let place = mounts
        .iter()
        .position(|other| other.destination.starts_with(&below));
    let added = oci::Mount {
        destination: mount.destination.clone(),
        kind: if mount.kind.is_empty() {
            "bind".to_owned()
        } else {
            mount.kind.clone()
        },
        source: mount.source.clone(),
        options: mount.options.clone(),
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
    };
    mounts.insert(place.unwrap_or(mounts.len()), added);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut DeviceRequest)) -> Result<Vec<String>, String> {
        let described = ["amd.com/gpu=0", "nvidia.com/gpu=0", "nvidia.com/gpu=10"];
        let more = ["nvidia.com/gpu=2", "nvidia.com/gpu=all", "x.y/z=1"];
        let described: Vec<String> = described
            .into_iter()
            .chain(more)
            .map(str::to_owned)
            .collect();
        let mut request = DeviceRequest {
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        };
        change(&mut request);
        names(&[request], &described).map_err(|error| error.to_string())
    }

    #[test]
    fn gpus_are_chosen_by_number_by_name_or_all() {
        let nvidia = |ids: &[&str]| {
            Ok(ids
                .iter()
                .map(|id| format!("nvidia.com/gpu={id}"))
                .collect())
        };
        assert_eq!(asked(|request| request.count = -1), nvidia(&["all"]));
        assert_eq!(asked(|request| request.count = 2), nvidia(&["0", "2"]));
        let ids = Some(vec!["10".to_owned()]);
        assert_eq!(asked(|request| request.device_ids = ids), nvidia(&["10"]));
        let amd = asked(|request| {
            request.driver = "amd".to_owned();
            request.count = -1;
        });
        assert_eq!(amd, Ok(vec!["amd.com/gpu=0".to_owned()]));
    }

    #[test]
    fn what_nothing_satisfies_is_refused_in_dockers_words() {
        let text = "could not select device driver \"foo\" with capabilities: [[gpu]]";
        assert_eq!(
            asked(|request| request.driver = "foo".into()),
            Err(text.into())
        );
        let text = "could not select device driver \"\" with capabilities: [[b c] [d]]";
        let other = asked(|request| {
            let all = [vec!["b", "c"], vec!["d"]];
            let owned = all.map(|one| one.into_iter().map(str::to_owned).collect());
            request.capabilities = Some(owned.to_vec());
        });
        assert_eq!(other, Err(text.into()));
        assert!(asked(|request| request.count = 9).is_err());
    }

    #[test]
    fn names_of_cdi_devices_are_taken_as_they_are() {
        let found = asked(|request| {
            request.driver = "cdi".to_owned();
            request.device_ids = Some(vec!["a/b=c".to_owned()]);
        });
        assert_eq!(found, Ok(vec!["a/b=c".to_owned()]));
    }

    #[test]
    fn a_mount_comes_before_those_below_it() {
        let mount = |destination: &str| oci::Mount {
            destination: destination.to_owned(),
            kind: "bind".to_owned(),
            source: "/old".to_owned(),
            options: Vec::new(),
            uid_mappings: Vec::new(),
            gid_mappings: Vec::new(),
        };
        let mut mounts = vec![mount("/proc"), mount("/usr/lib/x"), mount("/usr/lib")];
        let added = arca_cdi::Mount {
            source: "/new".to_owned(),
            destination: "/usr/lib".to_owned(),
            kind: String::new(),
            options: Vec::new(),
        };
        add_mount(&mut mounts, &added);
        let order: Vec<_> = mounts
            .iter()
            .map(|m| (&*m.destination, &*m.source))
            .collect();
        assert_eq!(
            order,
            [
                ("/proc", "/old"),
                ("/usr/lib", "/new"),
                ("/usr/lib/x", "/old")
            ]
        );
    }
}
