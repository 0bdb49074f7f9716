//! The settings of builds.

use crate::settings::Settings;

/// Where builds keep their cache, and what they may do.
pub(crate) fn builds(settings: &Settings) -> arca_build::Config {
    arca_build::Config {
        data_root: settings.data_root.clone(),
        exec_root: settings.exec_root.clone(),
        gc: Vec::new(),
        network_host: true,
        security_insecure: false,
    }
}
