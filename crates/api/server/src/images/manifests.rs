//! The manifests of an image, for list and inspect.

use arca_images::{Images, ManifestKind, ManifestSummary};
use arca_types::ImageId;
use arca_wire::image::{
    self, Descriptor, ManifestAttestationData, ManifestImageData, ManifestSize, UnpackedSize,
};

use super::distribution::{descriptor, platform};
use crate::error::ApiError;

/// What an image's name stands for, and the manifests in it.
pub(super) async fn of(
    images: &Images,
    id: &ImageId,
) -> Result<(Descriptor, Vec<image::ManifestSummary>), ApiError> {
    let found = images.manifests(id).await?;
    let manifests = found.manifests.into_iter().map(summary).collect();
    Ok((descriptor(found.target), manifests))
}

fn summary(manifest: ManifestSummary) -> image::ManifestSummary {
    let signed = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let content = manifest.content_size;
    let mut summary = image::ManifestSummary {
        id: manifest.descriptor.digest.to_string(),
        descriptor: descriptor(manifest.descriptor),
        available: false,
        size: ManifestSize {
            content: signed(content),
            total: signed(content),
        },
        kind: "unknown".to_owned(),
        image_data: None,
        attestation_data: None,
    };
    match manifest.kind {
        ManifestKind::Image { platform: of, here } => {
            "image".clone_into(&mut summary.kind);
            summary.available = here.is_some();
            let unpacked = here.as_ref().map_or(0, |here| here.unpacked_size);
            summary.size.total = signed(content + unpacked);
            let containers = here.into_iter().flat_map(|here| here.containers);
            summary.image_data = Some(ManifestImageData {
                platform: of.map(platform).unwrap_or_default(),
                size: UnpackedSize {
                    unpacked: signed(unpacked),
                },
                containers: containers.map(|id| id.to_string()).collect(),
            });
        }
        ManifestKind::Attestation { of } => {
            "attestation".clone_into(&mut summary.kind);
            summary.attestation_data = Some(ManifestAttestationData { of });
        }
        ManifestKind::Unknown => {}
    }
    summary
}
