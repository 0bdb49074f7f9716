//! What older clients get, brought back.

use arca_wire::container::{ContainerInspect, ContainerSummary};
use arca_wire::image::{ImageInspect, ImageSummary};
use arca_wire::system::{DiskUsage, Info};
use serde_json::Value;

use super::{ApiVersion, v1_24, v1_38, v1_41, v1_42, v1_43, v1_44, v1_45, v1_48, v1_49, v1_50};

pub(crate) fn container_inspect(version: ApiVersion, container: &mut ContainerInspect) {
    if version.before(45) {
        v1_44::container_inspect(container);
    }
    if version.before(48) {
        container.image_manifest_descriptor = None;
    }
}

pub(crate) fn container_list(version: ApiVersion, container: &mut ContainerSummary) {
    if version.before(46) {
        v1_45::container_list(container);
    }
    if version.before(48) {
        container.image_manifest_descriptor = None;
    }
}

pub(crate) fn image_list(version: ApiVersion, image: &mut ImageSummary) {
    if version.before(43) {
        v1_42::image_list(image);
    }
    if version.before(44) {
        v1_43::image_list(image);
    }
    if version.before(48) {
        image.descriptor = None;
    }
    if version.before(51) {
        v1_50::image_list(image);
    }
}

pub(crate) fn image_inspect(version: ApiVersion, mut image: ImageInspect) -> Value {
    if version.before(44) {
        v1_43::image_inspect(&mut image);
    }
    if version.before(45) {
        v1_44::image_inspect(&mut image);
    }
    if version.before(48) {
        image.descriptor = None;
    }
    let mut value = serde_json::to_value(&image).unwrap_or_default();
    if version.before(50) {
        v1_49::image_inspect(&mut value);
    }
    value
}

pub(crate) fn info(version: ApiVersion, mut info: Info) -> Info {
    if version.before(25) {
        v1_24::info(&mut info);
    }
    if version.before(39) {
        v1_38::info(&mut info);
    }
    if version.before(42) {
        v1_41::info(&mut info);
    }
    if version.before(44) {
        v1_43::info(&mut info);
    }
    if version.before(46) {
        info.containerd = None;
    }
    if version.before(49) {
        v1_48::info(&mut info);
    }
    if version.before(50) {
        v1_49::info(&mut info);
    }
    info
}

pub(crate) fn disk_usage(version: ApiVersion, mut usage: DiskUsage) -> DiskUsage {
    if version.before(42) {
        v1_41::disk_usage(&mut usage);
    }
    for container in usage.containers.iter_mut().flatten() {
        container_list(version, container);
    }
    for image in usage.images.iter_mut().flatten() {
        // Unlike a list, this has always counted containers.
        let containers = image.containers;
        image_list(version, image);
        image.containers = containers;
    }
    usage
}

/// Whether a client of this version is told of such an event.
pub(crate) fn shows_event(version: ApiVersion, kind: &str, action: &str) -> bool {
    !(version.before(46) && v1_45::hides_event(kind, action))
}
