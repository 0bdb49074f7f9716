//! The last version whose list of networks says who is on them.

use super::ApiVersion;

/// Whether `GET /networks` shows containers, as inspect does.
pub(crate) fn lists_containers(version: ApiVersion) -> bool {
    version.before(28)
}

/// Whether websockets carry text.
pub(crate) fn websocket_text(version: ApiVersion) -> bool {
    version.before(28)
}
