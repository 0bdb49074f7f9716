//! Devices by the Container Device Interface: named by `--device`, found by `--gpus`, listed by `info`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

use std::path::PathBuf;

use arca_testkit::{Engine, eventually};
use serde_json::json;

/// A specification where every engine looks for one, until the test ends.
struct Spec {
    path: PathBuf,
    kind: String,
}

impl Spec {
    /// One that is true to the host: a node, a mount, variables, a group, a hook.
    fn new(name: &str, shared: &str) -> Self {
        let kind = format!("arca-test-{name}.example/thing-{}", std::process::id());
        let text = format!(
            "cdiVersion: 0.7.0\n\
             kind: {kind}\n\
             containerEdits:\n\
             \x20 env: [ALL=1]\n\
             devices:\n\
             - name: one\n\
             \x20 containerEdits:\n\
             \x20   env: [ONE=1, PATH=/cdi:/bin]\n\
             \x20   additionalGIDs: [4711]\n\
             \x20   deviceNodes:\n\
             \x20   - {{path: /dev/cdi-zero, hostPath: /dev/zero}}\n\
             \x20   - {{path: /dev/cdi-none, type: b, major: 7, minor: 250, permissions: r}}\n\
             \x20   mounts:\n\
             \x20   - {{hostPath: {shared}, containerPath: /cdi, options: [ro, nosuid, bind]}}\n\
             \x20   hooks:\n\
             \x20   - {{hookName: createRuntime, path: /bin/touch, args: [touch, {shared}/hooked]}}\n\
             - name: absent\n\
             \x20 containerEdits:\n\
             \x20   deviceNodes:\n\
             \x20   - path: /dev/arca-test-nosuch\n"
        );
        let dir = PathBuf::from("/var/run/cdi");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("arca-test-{name}-{}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self { path, kind }
    }

    fn device(&self, name: &str) -> String {
        format!("{}={name}", self.kind)
    }
}

impl Drop for Spec {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
        drop(std::fs::remove_dir("/var/run/cdi"));
    }
}

#[test]
fn a_described_device_brings_what_it_needs() {
    let engine = Engine::start();
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("file"), "from the host\n").unwrap();
    let spec = Spec::new("full", &shared.path().to_string_lossy());
    let one = spec.device("one");
    // Other engines watch the directory.
    eventually("the device is discovered", || {
        let info = engine
            .docker(&["info", "-f", "{{json .DiscoveredDevices}}"])
            .ok();
        info.contains(&one).then_some(())
    });
    let script = "echo $ALL $ONE $PATH; id -G; cat /cdi/file; (echo x >/cdi/y) 2>&1; \
        head -c2 /dev/cdi-zero | wc -c; head -c1 /dev/cdi-none 2>&1 | grep -c permitted; (echo x >/dev/cdi-none) 2>&1";
    let output = engine.docker(&[
        "run", "--rm", "--device", &one, "busybox", "sh", "-c", script,
    ]);
    let lines: Vec<&str> = output.stdout.lines().collect();
    let [variables, groups, file, readonly, zeros, refused, denied] = lines.as_slice() else {
        panic!("{output:?}");
    };
    assert_eq!(*variables, "1 1 /cdi:/bin");
    // dockerd decides about the groups when it has taken in the device.
    let has_group = groups.split(' ').any(|group| group == "4711");
    assert_eq!(has_group, engine.is_own(), "{groups}");
    assert_eq!((*file, *zeros, *refused), ("from the host", "2", "0"));
    assert!(readonly.contains("Read-only file system"), "{readonly}");
    assert!(denied.contains("Operation not permitted"), "{denied}");
    assert!(shared.path().join("hooked").exists());
}

#[test]
fn devices_that_cannot_be_had_are_refused_at_the_start() {
    let engine = Engine::start();
    let spec = Spec::new("refused", "/tmp");
    let start = |requests: serde_json::Value| {
        let name = engine.name("cdi");
        let body = json!({"Image": "busybox", "HostConfig": {"DeviceRequests": requests}});
        let (status, created) = engine
            .http()
            .post(&format!("/v1.51/containers/create?name={name}"), &body);
        assert_eq!(status, 201, "{created}");
        let shown = engine
            .inspect(&name)
            .pointer("/HostConfig/DeviceRequests")
            .cloned();
        assert_eq!(
            shown,
            Some(body.pointer("/HostConfig/DeviceRequests").cloned().unwrap())
        );
        let (status, answer) = engine
            .http()
            .post(&format!("/v1.51/containers/{name}/start"), &json!({}));
        (
            status,
            answer
                .pointer("/message")
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    let request = |driver: &str, ids: &[&str], capabilities: serde_json::Value| {
        json!([{"Driver": driver, "Count": 0, "DeviceIDs": ids, "Capabilities": capabilities,
            "Options": null}])
    };
    assert_eq!(
        start(request("cdi", &["a.b/c=d", "e.f/g=h"], json!(null))),
        (
            500,
            "CDI device injection failed: unresolvable CDI devices a.b/c=d, e.f/g=h".to_owned()
        )
    );
    assert_eq!(
        start(request("foo", &["x"], json!([["b", "c"], ["d"]]))),
        (
            500,
            "could not select device driver \"foo\" with capabilities: [[b c] [d]]".to_owned()
        )
    );
    if engine.is_own() {
        let (status, said) = start(request("cdi", &[&spec.device("absent")], json!(null)));
        assert_eq!(status, 500);
        assert!(said.contains("/dev/arca-test-nosuch"), "{said}");
    }
}

#[test]
fn gpus_are_found_by_what_they_are() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd 28.5 wants a program of the vendor for it.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = json!({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [
        {"name": "0", "containerEdits": {"env": ["GPU=zero"]}},
        {"name": "all", "containerEdits": {"env": ["GPU=every"]}}]});
    std::fs::write(dir.path().join("nvidia.json"), text.to_string()).unwrap();
    let flags = vec![format!("--cdi-spec-dir={}", dir.path().display())];
    let engine = Engine::start_with(arca_testkit::Options {
        flags,
        ..Default::default()
    });
    let dirs = engine.docker(&["info", "-f", "{{.CDISpecDirs}}"]).ok();
    assert_eq!(dirs, format!("[{}]", dir.path().display()));
    for (gpus, found) in [("all", "every"), ("device=0", "zero"), ("1", "zero")] {
        let run = [
            "run",
            "--rm",
            "--gpus",
            gpus,
            "busybox",
            "sh",
            "-c",
            "echo $GPU",
        ];
        assert_eq!(engine.docker(&run).ok(), found, "{gpus}");
    }
    let said = engine
        .docker(&["run", "--rm", "--gpus", "2", "busybox", "true"])
        .expect(125);
    let words = "could not select device driver \"\" with capabilities: [[gpu]]";
    assert!(said.stderr.contains(words), "{}", said.stderr);
}
