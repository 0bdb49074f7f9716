//! The files of the directories, read anew for each question: they are few and change seldom.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::edits::Edits;
use crate::spec::Spec;
use crate::{Error, yaml};

/// A file larger than this is not a specification.
const LARGEST: u64 = 8 << 20;

/// The devices that files describe.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    dirs: Vec<PathBuf>,
}

/// What the files say: a file by its number, devices by their names.
#[derive(Debug, Default)]
struct Known {
    specs: Vec<Spec>,
    /// The directory's priority, and the file and the device in it; `None` when two contradict.
    devices: BTreeMap<String, (usize, Option<(usize, usize)>)>,
    failures: Vec<Error>,
}

impl Registry {
    /// The devices of the files in `dirs`, of which a later one wins.
    #[must_use]
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs }
    }

    /// The directories.
    #[must_use]
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The full names of all devices, in their order.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        let known = self.read().devices;
        let whole = known.into_iter().filter(|(_, (_, at))| at.is_some());
        whole.map(|(name, _)| name).collect()
    }

    /// Why files are not read.
    #[must_use]
    pub fn failures(&self) -> Vec<Error> {
        self.read().failures
    }

    /// What the devices `names` need together: for each file once what it says for all its devices,
    /// before what it says for one.
    ///
    /// # Errors
    /// [`Error::Unresolvable`] with all names that are not described, or twice;
    /// [`Error::Device`] for a node that the host has not.
    pub fn edits(&self, names: &[String]) -> Result<Edits, Error> {
        let known = self.read();
        let place = |name: &String| known.devices.get(name).and_then(|(_, place)| *place);
        let missing: Vec<String> = names
            .iter()
            .filter(|name| place(name).is_none())
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(Error::Unresolvable(missing));
        }
        let mut edits = Edits::default();
        let mut seen = Vec::new();
        for (file, device) in names.iter().filter_map(place) {
            let Some(spec) = known.specs.get(file) else {
                continue;
            };
            if !seen.contains(&file) {
                seen.push(file);
                edits.add(&spec.container_edits)?;
            }
            if let Some(device) = spec.devices.get(device) {
                edits.add(&device.container_edits)?;
            }
        }
        Ok(edits)
    }

    fn read(&self) -> Known {
        let mut known = Known::default();
        for (priority, dir) in self.dirs.iter().enumerate() {
            for path in files(dir) {
                match spec(&path) {
                    Ok(spec) => known.add(spec, priority),
                    Err(reason) => known.failures.push(Error::Spec { path, reason }),
                }
            }
        }
        known
    }
}

impl Known {
    fn add(&mut self, spec: Spec, priority: usize) {
        let file = self.specs.len();
        for (index, device) in spec.devices.iter().enumerate() {
            let name = format!("{}={}", spec.kind, device.name);
            let at = match self.devices.get(&name) {
                Some((same, _)) if *same == priority => None,
                _ => Some((file, index)),
            };
            self.devices.insert(name, (priority, at));
        }
        self.specs.push(spec);
    }
}

/// The files of a directory that may be specifications, in their order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("json" | "yaml" | "yml")) && path.is_file()
        })
        .collect();
    all.sort();
    all
}

fn spec(path: &Path) -> Result<Spec, String> {
    let say = |error: std::io::Error| error.to_string();
    if fs::metadata(path).map_err(say)?.len() > LARGEST {
        return Err("it is too large".to_owned());
    }
    let text = fs::read_to_string(path).map_err(say)?;
    let json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    Spec::read(yaml::parse(&text, json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENDOR: &str = "\
cdiVersion: 0.7.0
kind: vendor.com/device
containerEdits:
  env: [ALL=1]
devices:
- name: one
  containerEdits:
    env: [ONE=1]
    additionalGIDs: [0, 44]
    deviceNodes:
    - path: /dev/thing
      hostPath: /dev/null
      permissions: rw
    mounts:
    - hostPath: /lib
      containerPath: /vendor
      options: [ro, bind]
    hooks:
    - hookName: createContainer
      path: /bin/hook
      args: [hook, x]
- name: two
  containerEdits:
    env: [TWO=1]
- name: broken
  containerEdits:
    deviceNodes:
    - path: /dev/nosuch
";

    fn registry(files: &[(&str, &str)]) -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = ["low", "high"].iter().map(|d| dir.path().join(d)).collect();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (dir, Registry::new(dirs))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn devices_of_a_file_are_found_and_described() {
        let (_dir, registry) = registry(&[("low/v.yaml", VENDOR), ("low/readme.txt", "x")]);
        let all = ["broken", "one", "two"].map(|name| format!("vendor.com/device={name}"));
        assert_eq!(registry.devices(), all);
        let edits = registry
            .edits(&names(&["vendor.com/device=one", "vendor.com/device=two"]))
            .unwrap();
        assert_eq!(edits.env, ["ALL=1", "ONE=1", "TWO=1"]);
        assert_eq!(edits.additional_gids, [44]);
        let node = &edits.device_nodes[0];
        assert_eq!(
            (node.path.as_str(), node.kind, node.major, node.minor),
            ("/dev/thing", 'c', 1, 3)
        );
        assert_eq!((node.access.as_str(), node.uid), ("rw", None));
        assert_eq!(edits.mounts[0].destination, "/vendor");
        assert_eq!(edits.hooks[0].args, ["hook", "x"]);
    }

    #[test]
    fn all_missing_devices_are_named() {
        let (_dir, registry) = registry(&[("low/v.yaml", VENDOR)]);
        let asked = names(&["a.b/c=d", "vendor.com/device=one", "vendor.com/device=9"]);
        assert_eq!(
            registry.edits(&asked).unwrap_err().to_string(),
            "unresolvable CDI devices a.b/c=d, vendor.com/device=9"
        );
        let broken = registry.edits(&names(&["vendor.com/device=broken"]));
        assert!(matches!(broken, Err(Error::Device { .. })));
    }

    #[test]
    fn a_later_directory_wins_and_two_files_of_one_contradict() {
        let other = |env: &str| {
            format!(
                r#"{{"cdiVersion": "0.5.0", "kind": "a.b/c", "devices": [
                {{"name": "x", "containerEdits": {{"env": ["FROM={env}"]}}}}]}}"#
            )
        };
        let (low, high) = (other("low"), other("high"));
        let (_dir, wins) = registry(&[("low/a.json", &low), ("high/a.json", &high)]);
        assert_eq!(wins.edits(&names(&["a.b/c=x"])).unwrap().env, ["FROM=high"]);
        let (_dir, twice) = registry(&[("low/a.json", &low), ("low/b.json", &high)]);
        assert!(twice.edits(&names(&["a.b/c=x"])).is_err());
        assert!(twice.devices().is_empty());
    }

    #[test]
    fn a_file_that_is_none_is_told_and_hides_no_other() {
        let (_dir, registry) = registry(&[("low/bad.json", "{"), ("low/v.yaml", VENDOR)]);
        assert_eq!(registry.failures().len(), 1);
        assert_eq!(registry.devices().len(), 3);
    }
}
