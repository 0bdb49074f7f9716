//! `GET /images/json`.

use arca_images::{Images, ListFilters, ListOptions, Summary};
use arca_types::{Clock, SystemClock};
use arca_wire::image::ImageSummary;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::compat::{self, ApiVersion, has_image_filter};
use crate::error::ApiError;
use crate::http::{Query, json};

/// Lists images, the newest first.
pub(super) async fn list(
    State(images): State<Images>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let mut filters = query.filters()?.into_map();
    if has_image_filter(version) && query.has("filter") {
        filters
            .entry("reference".to_owned())
            .or_default()
            .push(query.text("filter").to_owned());
    }
    let options = ListOptions {
        all: query.flag("all"),
        filters: ListFilters::parse(&filters, SystemClock.now())?,
        shared_size: query.flag("shared-size"),
    };
    // Manifests came with 1.47.
    let with_manifests = query.flag("manifests") && !version.before(47);
    let mut shown: Vec<ImageSummary> = Vec::new();
    for image in images.list(&options)? {
        let id = image.id.clone();
        let mut image = summary(image);
        if with_manifests {
            let (target, manifests) = super::manifests::of(&images, &id).await?;
            (image.descriptor, image.manifests) = (Some(target), Some(manifests));
        }
        shown.push(image);
    }
    shown
        .iter_mut()
        .for_each(|image| compat::image_list(version, image));
    Ok(json(StatusCode::OK, &shown))
}

/// An image in lists and in disk usage.
pub(crate) fn summary(image: Summary) -> ImageSummary {
    let signed = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    ImageSummary {
        containers: i64::try_from(image.containers).unwrap_or(i64::MAX),
        created: image.created.map_or(0, |created| created.seconds()),
        id: image.id.to_string(),
        labels: image.labels,
        parent_id: image
            .parent
            .map(|parent| parent.to_string())
            .unwrap_or_default(),
        repo_digests: image.repo_digests,
        repo_tags: image.repo_tags,
        shared_size: image.shared_size.map_or(-1, signed),
        size: signed(image.size),
        virtual_size: None,
        descriptor: None,
        manifests: None,
    }
}
