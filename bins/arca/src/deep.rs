//! `arca doctor --deep`: the daemon compares all content with its digests, and fetches what is broken.

use anyhow::Context;
use arca_wire::store::{Damage, VerifyReport};

use crate::api::Api;
use crate::finding::Finding;

/// Has the daemon check, and repair when that is asked for.
///
/// # Errors
/// The daemon cannot do it.
pub(crate) fn check(api: &Api, repair: bool) -> anyhow::Result<Vec<Finding>> {
    let answer = api.post(&format!("/arca/images/verify?repair={}", u8::from(repair)))?;
    let report: VerifyReport = serde_json::from_str(&answer).context("the daemon's answer")?;
    if report.damaged.is_empty() {
        let text = format!(
            "{} blobs and {} layers are sound",
            report.blobs, report.layers
        );
        return Ok(vec![Finding::ok("store", text)]);
    }
    Ok(report.damaged.iter().map(finding).collect())
}

fn finding(damage: &Damage) -> Finding {
    let images = match damage.images.as_slice() {
        [] => "no image".to_owned(),
        images => images.join(", "),
    };
    let text = format!(
        "{} {} of {images}: {}",
        damage.kind, damage.digest, damage.problem
    );
    if damage.repaired {
        Finding::ok("store", format!("{text}; fetched again"))
    } else if damage.repair_error.is_empty() {
        Finding::error("store", format!("{text}; --repair fetches it again"))
    } else {
        Finding::error(
            "store",
            format!("{text}; not repaired: {}", damage.repair_error),
        )
    }
}
