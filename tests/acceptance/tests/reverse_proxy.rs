//! A reverse proxy that learns of services by labels and events, as Traefik does: `python/reverse_proxy.py`.

use arca_testkit::Engine;

#[test]
fn a_reverse_proxy_follows_labels_and_events() {
    let engine = Engine::start();
    let output = engine
        .command_beside("timeout")
        .arg("100")
        .arg(arca_testkit::docker_py())
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/python/reverse_proxy.py"
        ))
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.trim(), "reverse proxy: ok", "{errors}");
}
