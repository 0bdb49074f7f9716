//! The last version that gives images without a name the name `<none>`.

use arca_wire::container::HostConfig;
use arca_wire::image::ImageSummary;

pub(super) fn create(host: &mut HostConfig) {
    host.annotations.clear();
}

pub(super) fn image_list(image: &mut ImageSummary) {
    if image.repo_tags.is_empty() && image.repo_digests.is_empty() {
        image.repo_tags.push("<none>:<none>".to_owned());
        image.repo_digests.push("<none>@<none>".to_owned());
    }
}
