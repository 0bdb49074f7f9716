//! The one worker there is.

use std::collections::HashMap;

use arca_types::Platform;
use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, GcPolicy, WorkerRecord};

use crate::convert;
use crate::service::Service;

/// Where buildx looks for the address of `host-gateway` (`moby/moby`, builder-next).
const HOST_GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

pub(crate) fn version(service: &Service) -> BuildkitVersion {
    BuildkitVersion {
        package: "arca".to_owned(),
        version: service.config.version.clone(),
        revision: String::new(),
    }
}

pub(crate) fn record(service: &Service) -> WorkerRecord {
    let mut labels = HashMap::new();
    if let Some(address) = &service.config.host_gateway {
        labels.insert(HOST_GATEWAY.to_owned(), address.clone());
    }
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let policies = service.builder.gc_policies().iter().map(|policy| {
        let filters = policy.filters.iter();
        let filters = filters
            .flat_map(|(key, values)| values.iter().map(move |value| format!("{key}=={value}")));
        let keep = policy.keep_duration.unwrap_or_default();
        GcPolicy {
            all: policy.all,
            keep_duration: i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX),
            filters: filters.collect(),
            reserved_space: number(policy.reserved_space),
            max_used_space: number(policy.max_used_space),
            min_free_space: number(policy.min_free_space),
        }
    });
    WorkerRecord {
        id: service.config.id.clone(),
        labels,
        platforms: platforms().iter().map(convert::to_platform).collect(),
        gc_policy: policies.collect(),
        buildkit_version: Some(version(service)),
        cdi_devices: Vec::new(),
    }
}

/// What processes can be run here without emulation.
fn platforms() -> Vec<Platform> {
    let host = Platform::host();
    let mut platforms = vec![host.clone()];
    if host.architecture == "amd64" {
        platforms.push(Platform::new("linux", "386", None));
    }
    platforms
}
