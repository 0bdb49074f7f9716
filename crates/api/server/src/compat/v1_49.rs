//! The last version whose images carry the configuration of a container.

use arca_wire::system::Info;
use serde_json::{Value, json};

use super::ApiVersion;

/// The fields that only containers have, at their zero values.
pub(super) fn image_inspect(image: &mut Value) {
    let Some(Value::Object(config)) = image.get_mut("Config") else {
        return;
    };
    for (name, value) in [
        ("Hostname", json!("")),
        ("Domainname", json!("")),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("AttachStderr", json!(false)),
        ("Tty", json!(false)),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Image", json!("")),
    ] {
        config.entry(name).or_insert(value);
    }
}

pub(super) fn info(info: &mut Info) {
    info.bridge_nf_iptables = Some(false);
    info.bridge_nf_ip6tables = Some(false);
    info.discovered_devices.clear();
}

/// Whether removing an image takes `platforms`.
pub(crate) fn delete_takes_platforms(version: ApiVersion) -> bool {
    !version.before(50)
}
