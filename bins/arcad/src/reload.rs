//! What SIGHUP changes: the settings dockerd reloads, as far as arca has them.

use arca_engine::Engine;
use arca_events::{Event, Type};
use arca_registry::Registry;

use crate::services;
use crate::settings::Settings;

/// What of `fresh` may change while arcad runs, and what stays of `present`.
pub(crate) fn merge(present: &Settings, fresh: Settings) -> Settings {
    Settings {
        debug: fresh.debug,
        log_level: fresh.log_level,
        labels: fresh.labels,
        live_restore: fresh.live_restore,
        max_concurrent_downloads: fresh.max_concurrent_downloads,
        max_concurrent_uploads: fresh.max_concurrent_uploads,
        max_download_attempts: fresh.max_download_attempts,
        image_gc: fresh.image_gc,
        insecure_registries: fresh.insecure_registries,
        registry_mirrors: fresh.registry_mirrors,
        shutdown_timeout: fresh.shutdown_timeout,
        runtimes: fresh.runtimes,
        default_runtime: fresh.default_runtime,
        default_shm_size: fresh.default_shm_size,
        default_ipc_mode: fresh.default_ipc_mode,
        ..present.clone()
    }
}

/// Hands the settings to the services and tells it as the event `reload`. Returns whether they were
/// taken; nothing has changed when not.
pub(crate) async fn apply(settings: &Settings, engine: &Engine, registry: &Registry) -> bool {
    let configs = || {
        anyhow::Ok((
            services::registry(settings)?,
            services::system(settings)?,
            services::containers(settings)?,
            services::image_gc(settings)?,
        ))
    };
    let (config, system, containers, policy) = match configs() {
        Ok(configs) => configs,
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "the configuration was not reloaded"
            );
            return false;
        }
    };
    registry.reload(config);
    engine.system.reload(system);
    engine.containers.reload(containers);
    engine.images.set_gc_policy(policy);
    let event =
        Event::new(Type::Daemon, "reload", engine.system.id()).with_all(attributes(settings));
    engine.events.publish(event).await;
    tracing::info!(debug = settings.debug, labels = ?settings.labels, "the configuration was reloaded");
    true
}

/// What dockerd tells of its configuration in the event.
fn attributes(settings: &Settings) -> Vec<(&'static str, String)> {
    let list = |texts: &[String]| {
        if texts.is_empty() {
            "[]".to_owned()
        } else {
            format!("[\"{}\"]", texts.join("\",\""))
        }
    };
    vec![
        ("name", services::hostname()),
        ("debug", settings.debug.to_string()),
        ("labels", list(&settings.labels)),
        ("live-restore", "true".to_owned()),
        (
            "max-concurrent-downloads",
            settings.max_concurrent_downloads.to_string(),
        ),
        (
            "max-concurrent-uploads",
            settings.max_concurrent_uploads.to_string(),
        ),
        (
            "max-download-attempts",
            settings.max_download_attempts.to_string(),
        ),
        ("insecure-registries", list(&settings.insecure_registries)),
        ("registry-mirrors", list(&settings.registry_mirrors)),
        ("shutdown-timeout", settings.shutdown_timeout.to_string()),
        ("runtimes", runtimes(settings)),
        ("default-runtime", settings.default_runtime.clone()),
        ("default-shm-size", settings.default_shm_size.to_string()),
        ("default-ipc-mode", settings.default_ipc_mode.clone()),
    ]
}

fn runtimes(settings: &Settings) -> String {
    let told = settings.runtimes.iter();
    told.map(|(name, runtime)| format!("{name}:{}", runtime.path))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_change_is_taken() {
        let fresh = Settings {
            debug: true,
            mtu: 1400,
            ..Settings::default()
        };
        let next = merge(&Settings::default(), fresh);
        assert!(next.debug);
        assert_eq!(next.mtu, 1500);
    }

    #[test]
    fn the_event_tells_lists_as_json() {
        let settings = Settings {
            labels: vec!["a=b".to_owned(), "c=d".to_owned()],
            ..Settings::default()
        };
        let told = attributes(&settings);
        assert!(told.contains(&("labels", "[\"a=b\",\"c=d\"]".to_owned())));
        assert!(told.contains(&("registry-mirrors", "[]".to_owned())));
    }
}
