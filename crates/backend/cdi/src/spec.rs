//! The files' shape (SPEC.md, versions 0.3.0 to 1.1.0).

use serde::Deserialize;

use crate::name;

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Spec {
    cdi_version: String,
    pub(crate) kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: serde_json::Value,
    #[serde(default)]
    pub(crate) devices: Vec<Device>,
    #[serde(default)]
    pub(crate) container_edits: ContainerEdits,
}

/// One device of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Device {
    pub(crate) name: String,
    #[serde(default, rename = "annotations")]
    _annotations: serde_json::Value,
    #[serde(default)]
    pub(crate) container_edits: ContainerEdits,
}

/// What a container needs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct ContainerEdits {
    pub(crate) env: Vec<String>,
    pub(crate) device_nodes: Vec<DeviceNode>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) hooks: Vec<Hook>,
    #[serde(rename = "additionalGIDs", alias = "additionalGids")]
    pub(crate) additional_gids: Vec<u32>,
    /// Cache allocation, and moving network devices: hardware of few.
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

/// A device node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeviceNode {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) host_path: String,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) file_mode: Option<u32>,
    #[serde(default)]
    pub(crate) permissions: String,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Mount {
    pub(crate) host_path: String,
    pub(crate) container_path: String,
    #[serde(default)]
    pub(crate) options: Vec<String>,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
}

/// A hook.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Hook {
    pub(crate) hook_name: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: Vec<String>,
    pub(crate) timeout: Option<i64>,
}

/// The moments at which hooks may run.
pub(crate) const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

impl Spec {
    /// Reads a file's value and checks it.
    pub(crate) fn read(value: serde_json::Value) -> Result<Self, String> {
        let spec: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let version = spec.cdi_version.as_str();
        let known = ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "1.0", "1.1"];
        if !known.iter().any(|one| {
            version
                .rsplit_once('.')
                .is_some_and(|(minor, _)| minor == *one)
        }) {
            return Err(format!("invalid version {version:?}"));
        }
        if !name::is_kind(&spec.kind) {
            return Err(format!("invalid kind {:?}", spec.kind));
        }
        if spec.devices.is_empty() {
            return Err("invalid spec, no devices".to_owned());
        }
        spec.container_edits.check()?;
        for (index, device) in spec.devices.iter().enumerate() {
            if !name::is_device(&device.name) {
                return Err(format!("invalid device name {:?}", device.name));
            }
            let earlier = spec.devices.iter().take(index);
            if earlier.into_iter().any(|other| other.name == device.name) {
                return Err(format!("invalid spec, multiple device {:?}", device.name));
            }
            device.container_edits.check()?;
        }
        Ok(spec)
    }
}

impl ContainerEdits {
    fn check(&self) -> Result<(), String> {
        if self.intel_rdt.is_some() {
            return Err("intelRdt is not supported".to_owned());
        }
        if !self.net_devices.is_empty() {
            return Err("netDevices is not supported".to_owned());
        }
        for variable in &self.env {
            if !variable.contains('=') {
                return Err(format!("invalid environment variable {variable:?}"));
            }
        }
        for node in &self.device_nodes {
            if node.path.is_empty() {
                return Err("invalid (empty) device path".to_owned());
            }
            if !["", "b", "c", "u", "p"].contains(&node.kind.as_str()) {
                return Err(format!(
                    "device {:?}: invalid type {:?}",
                    node.path, node.kind
                ));
            }
            if node.permissions.chars().any(|c| !"rwm".contains(c)) {
                let wrong = &node.permissions;
                return Err(format!(
                    "device {:?}: invalid permissions {wrong:?}",
                    node.path
                ));
            }
        }
        for mount in &self.mounts {
            if mount.host_path.is_empty() || mount.container_path.is_empty() {
                return Err("invalid mount, empty path".to_owned());
            }
        }
        for hook in &self.hooks {
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                return Err(format!("invalid hook name {:?}", hook.hook_name));
            }
            if hook.path.is_empty() {
                return Err(format!("invalid hook {:?} with empty path", hook.hook_name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_understood_is_refused() {
        let spec = |edits: serde_json::Value| {
            let value = json!({"cdiVersion": "0.7.0", "kind": "a.b/c",
                "devices": [{"name": "x", "containerEdits": edits}]});
            Spec::read(value).err().unwrap_or_default()
        };
        assert_eq!(spec(json!({"env": ["A=1"]})), "");
        for bad in [
            json!({"env": ["A"]}),
            json!({"hooks": [{"hookName": "never", "path": "/x"}]}),
            json!({"deviceNodes": [{"path": "/dev/x", "permissions": "q"}]}),
            json!({"deviceNodes": [{"path": "/dev/x", "type": "z"}]}),
            json!({"netDevices": [{}]}),
            json!({"unheardOf": 1}),
        ] {
            assert_ne!(spec(bad.clone()), "", "{bad}");
        }
    }

    #[test]
    fn kinds_versions_and_names_are_checked() {
        let refused = |change: fn(&mut serde_json::Value)| {
            let mut value =
                json!({"cdiVersion": "0.5.0", "kind": "a.b/c", "devices": [{"name": "x"}]});
            change(&mut value);
            Spec::read(value).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|spec| spec["cdiVersion"] = json!("9.0.0")));
        assert!(refused(|spec| spec["kind"] = json!("a")));
        assert!(refused(|spec| spec["devices"] = json!([])));
        assert!(refused(
            |spec| spec["devices"] = json!([{"name": "x"}, {"name": "x"}])
        ));
    }
}
