//! The one worker there is.

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, GcPolicy, WorkerRecord};

use crate::convert;
use crate::service::Service;

/// Where buildx looks for the address of `host-gateway` (`moby/moby`, builder-next).
const HOST_GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

/// Where buildx looks for whether outputs besides images, and caches besides those in images, are done here
/// (dockerd has the label with containerd's image store).
const SNAPSHOTTER: &str = "org.mobyproject.buildkit.worker.snapshotter";

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
    labels.insert(SNAPSHOTTER.to_owned(), "overlayfs".to_owned());
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let policies = service.builder.gc_policies().iter().map(|policy| {
        let filters = policy.filters.iter();
        let filters = filters
            .flat_map(|(key, values)| values.iter().map(move |value| format!("{key}=={value}")));
        let filters: Vec<String> = filters.collect();
        let keep = policy.keep_duration.unwrap_or_default();
        GcPolicy {
            all: policy.all,
            keep_duration: i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX),
            // One filter, as dockerd shows it.
            filters: (!filters.is_empty())
                .then(|| filters.join(","))
                .into_iter()
                .collect(),
            reserved_space: number(policy.reserved_space),
            max_used_space: number(policy.max_used_space),
            min_free_space: number(policy.min_free_space),
        }
    });
    WorkerRecord {
        id: service.config.id.clone(),
        labels,
        platforms: service
            .builder
            .platforms()
            .iter()
            .map(convert::to_platform)
            .collect(),
        gc_policy: policies.collect(),
        buildkit_version: Some(version(service)),
        cdi_devices: Vec::new(),
    }
}
