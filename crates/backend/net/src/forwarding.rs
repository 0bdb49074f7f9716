//! Forwarding of packets by the host: switched on where a network needs it.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::firewall::Guard;
use crate::sysctl;

/// The setting of IPv4, and the file that says that it was off before us.
const IPV4: (&str, &str) = ("ipv4/ip_forward", "ipv4-forwarding-was-off");
/// The same for IPv6.
const IPV6: (&str, &str) = ("ipv6/conf/all/forwarding", "ipv6-forwarding-was-off");

/// Switches forwarding on, unless that is not `wanted`, and says which families the host did not forward
/// before: of those, nothing shall pass between interfaces that are not ours. What was changed is
/// remembered in `run_dir`, as long as the host is up.
pub(crate) fn enable(run_dir: &Path, wanted: bool, ipv6: bool) -> Result<Guard, Error> {
    Ok(Guard {
        ipv4: enable_one(run_dir, wanted, IPV4)?,
        ipv6: if ipv6 {
            enable_one(run_dir, wanted, IPV6)?
        } else {
            run_dir.join(IPV6.1).exists()
        },
    })
}

fn enable_one(run_dir: &Path, wanted: bool, (key, marker): (&str, &str)) -> Result<bool, Error> {
    let marker = run_dir.join(marker);
    if sysctl::get(key).is_none_or(|value| value != "0") {
        return Ok(marker.exists());
    }
    if !wanted {
        tracing::warn!(
            setting = key,
            "forwarding is disabled: networks reach the host alone"
        );
        return Ok(false);
    }
    let failed = |cause| Error::File {
        action: "create",
        path: marker.clone(),
        cause,
    };
    fs::create_dir_all(run_dir).map_err(failed)?;
    fs::write(&marker, "").map_err(failed)?;
    sysctl::set(key, "1")?;
    Ok(true)
}

/// Switches off what [`enable`] has switched on.
pub(crate) fn restore(run_dir: &Path) -> Result<(), Error> {
    let mut result = Ok(());
    for (key, marker) in [IPV4, IPV6] {
        let marker = run_dir.join(marker);
        if marker.exists() {
            result = result.and(restore_one(key, &marker));
        }
    }
    result
}

fn restore_one(key: &str, marker: &Path) -> Result<(), Error> {
    sysctl::set(key, "0")?;
    fs::remove_file(marker).map_err(|cause| Error::File {
        action: "remove",
        path: marker.to_owned(),
        cause,
    })
}
