//! Many containers at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use arca_testkit::Engine;
use serde_json::json;

#[test]
fn fifty_containers_eight_at_a_time() {
    let engine = Engine::start();
    let prefix = engine.name("many");
    let next = AtomicUsize::new(0);
    let work = |job: &(dyn Fn(usize) + Sync)| {
        next.store(0, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= 50 {
                            break;
                        }
                        job(number);
                    }
                });
            }
        });
    };
    let http = engine.http();
    work(&|number| {
        let body =
            json!({"Image": "busybox", "Cmd": ["sleep", "600"], "Labels": {"group": prefix}});
        let (status, created) = http.post(
            &format!("/v1.51/containers/create?name={prefix}-{number}"),
            &body,
        );
        assert_eq!(status, 201, "{created}");
        let (status, error) = http.post(
            &format!("/v1.51/containers/{prefix}-{number}/start"),
            &json!(null),
        );
        assert_eq!(status, 204, "{error}");
    });
    let filter = format!("label=group={prefix}");
    let running = engine.docker(&["ps", "-q", "-f", &filter]).ok();
    assert_eq!(running.lines().count(), 50);
    let addresses: std::collections::BTreeSet<String> = (0..50)
        .map(|number| {
            let inspected = engine.inspect(&format!("{prefix}-{number}"));
            inspected["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(addresses.len(), 50);
    work(&|number| {
        let (status, error) = http.delete(&format!("/v1.51/containers/{prefix}-{number}?force=1"));
        assert_eq!(status, 204, "{error}");
    });
    assert_eq!(engine.docker(&["ps", "-aq", "-f", &filter]).ok(), "");
}

#[test]
fn one_name_is_given_once() {
    let engine = Engine::start();
    let name = engine.name("race");
    let http = engine.http();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (status, body) = http.post(
                    &format!("/v1.51/containers/create?name={name}"),
                    &json!({"Image": "busybox", "Cmd": ["true"]}),
                );
                match status {
                    201 => drop(made.fetch_add(1, Ordering::Relaxed)),
                    other => assert_eq!(other, 409, "{body}"),
                }
            });
        }
    });
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[test]
fn concurrent_starts_stops_and_removals_agree() {
    let engine = Engine::start();
    let name = engine.name("agree");
    let http = engine.http();
    engine
        .docker(&["create", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let started: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    http.post(&format!("/v1.51/containers/{name}/start"), &json!(null))
                        .0
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        started.iter().filter(|status| **status == 204).count(),
        1,
        "{started:?}"
    );
    assert!(
        started.iter().all(|status| [204, 304].contains(status)),
        "{started:?}"
    );
    let removed: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| http.delete(&format!("/v1.51/containers/{name}?force=1")).0))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(removed.contains(&204), "{removed:?}");
    assert!(
        removed
            .iter()
            .all(|status| [204, 404, 409].contains(status)),
        "{removed:?}"
    );
    assert_eq!(http.get(&format!("/v1.51/containers/{name}/json")).0, 404);
}
