//! Registries with certificates of a private authority, and mirrors by `hosts.toml`.

use std::path::Path;

use arca_testkit::{Engine, Options, Registry};

fn engine(certs: &Path) -> Engine {
    Engine::start_with(Options {
        flags: vec![format!("--certs-dir={}", certs.display())],
        ..Options::default()
    })
}

/// Takes over what is in `certs.d` now: it is read once for each registry.
fn restart(engine: &Engine) {
    engine.stop();
    engine.launch();
}

#[test]
fn a_registry_is_believed_by_its_authority_and_believes_the_clients_certificate() {
    let certs = tempfile::tempdir().unwrap();
    let engine = engine(certs.path());
    if !engine.is_own() {
        return;
    }
    let pki = tempfile::tempdir().unwrap();
    let registry = Registry::start_with_tls(&engine, pki.path());
    let image = registry.image("box:v1");
    engine.docker(&["tag", "busybox:latest", &image]).ok();
    let refused = engine.docker(&["push", &image]).expect(1);
    let text = "x509: certificate signed by unknown authority";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);

    let own = certs.path().join(registry.address());
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(pki.path().join("ca.crt"), own.join("ca.crt")).unwrap();
    restart(&engine);
    // The server wants to see a certificate too.
    let refused = engine.docker(&["push", &image]).expect(1);
    assert!(refused.stderr.contains("tls"), "{}", refused.stderr);

    for file in ["client.cert", "client.key"] {
        std::fs::copy(pki.path().join(file), own.join(file)).unwrap();
    }
    restart(&engine);
    engine.docker(&["push", "-q", &image]).ok();
    engine.docker(&["rmi", &image]).ok();
    engine.docker(&["pull", "-q", &image]).ok();

    // The same as a mirror of a registry that is not there.
    let mirrored = certs.path().join("far.example");
    std::fs::create_dir(&mirrored).unwrap();
    let pki = pki.path().display();
    let hosts = format!(
        "[host.\"https://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\nca = \"{pki}/ca.crt\"\nclient = [[\"{pki}/client.cert\", \"{pki}/client.key\"]]\n",
        registry.address()
    );
    std::fs::write(mirrored.join("hosts.toml"), hosts).unwrap();
    engine.docker(&["pull", "-q", "far.example/box:v1"]).ok();
    let ran = engine.docker(&["run", "--rm", "far.example/box:v1", "echo", "mirrored"]);
    assert_eq!(ran.ok(), "mirrored");
}
