//! `POST /arca/images/gc` and `POST /arca/images/verify`: the store of images, for the operator.

use arca_images::{Damaged, Images};
use arca_wire::store::{Damage, GcImage, GcReport, VerifyReport};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json};

/// Removes images that nobody uses until the disk is used less than the low watermark; with `dry-run`
/// only tells which ones.
pub(super) async fn gc(State(images): State<Images>, query: Query) -> Result<Response, ApiError> {
    let dry_run = query.flag("dry-run");
    let report = images.gc(dry_run).await?;
    let answer = GcReport {
        dry_run,
        total: report.before.total,
        available_before: report.before.available,
        available_after: report.after.available,
        enough: report.enough,
        images: report.images.into_iter().map(image).collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}

fn image(image: arca_images::GcImage) -> GcImage {
    GcImage {
        id: image.id.to_string(),
        repo_tags: image.names,
        last_used: image.last_used.to_string(),
        size: image.size,
    }
}

/// Compares everything with its digest; with `repair`, what is damaged is fetched again.
pub(super) async fn verify(
    State(images): State<Images>,
    query: Query,
) -> Result<Response, ApiError> {
    let verified = images.verify(query.flag("repair")).await?;
    let answer = VerifyReport {
        blobs: u64::try_from(verified.blobs).unwrap_or(u64::MAX),
        layers: u64::try_from(verified.layers).unwrap_or(u64::MAX),
        damaged: verified.damaged.into_iter().map(damage).collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}

fn damage(damage: arca_images::Damage) -> Damage {
    let (kind, digest) = match damage.content {
        Damaged::Blob(digest) => ("blob", digest.to_string()),
        Damaged::Layer(diff_id) => ("layer", diff_id.to_string()),
    };
    Damage {
        kind: kind.to_owned(),
        digest,
        problem: damage.problem,
        images: damage.images.iter().map(ToString::to_string).collect(),
        repaired: matches!(damage.repair, Some(Ok(()))),
        repair_error: damage.repair.and_then(Result::err).unwrap_or_default(),
    }
}
