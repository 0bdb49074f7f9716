//! How much memory arcad takes for a layer of any size, on its way in and out.
//!
//! `ARCA_TEST_LAYER_MB` says another size: nothing but the time grows with it.

use std::process::Stdio;

use arca_testkit::{Engine, MadeImage, MadeLayer, Memory, Options, Registry, write_archive};

/// The most that arcad may take, its program included (MiB).
const BOUND: u64 = 150;

#[test]
fn memory_does_not_grow_with_a_layer() {
    let engine = Engine::start_with(Options {
        no_images: true,
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    let megabytes = std::env::var("ARCA_TEST_LAYER_MB").ok();
    let megabytes: u64 = megabytes.map_or(120, |text| text.parse().unwrap());
    let registry = Registry::start(&engine);
    let name = registry.image("large:v1");
    let layer = |seed| MadeLayer {
        seed,
        size: megabytes << 20,
    };
    let image = MadeImage {
        name: name.clone(),
        layers: vec![layer(1)],
    };
    let mut told = String::new();
    let mut memory = Memory::watch(&engine);
    let mut measured = |what: &str, took: std::time::Duration| {
        let peak = memory.most() >> 10;
        told += &format!("{what} {peak} MiB in {:.1} s, ", took.as_secs_f64());
        assert!(peak < BOUND, "{what} took {peak} MiB: {told}");
        memory = Memory::watch(&engine);
    };
    let loaded = engine.client().run_fed(&["load", "-q"], |stdin| {
        write_archive(std::slice::from_ref(&image), stdin)
    });
    measured("load", loaded.expect(0).took);
    let pushed = engine.docker(&["push", "-q", &name]);
    measured("push", pushed.expect(0).took);
    engine.docker(&["rmi", &name]).ok();
    assert_eq!(engine.kept_content(), [0, 0]);
    let pulled = engine.docker(&["pull", "-q", &name]);
    measured("pull", pulled.expect(0).took);
    let begun = std::time::Instant::now();
    let mut save = engine.docker_command(&["save", &name]);
    let saved = save.stdout(Stdio::null()).stderr(Stdio::inherit()).status();
    assert!(saved.unwrap().success());
    measured("save", begun.elapsed());
    let (_, inspected) = engine.http().get(&format!("/images/{name}/json"));
    assert_eq!(inspected["Size"], megabytes << 20);
    engine.docker(&["rmi", &name]).ok();
    assert_eq!(engine.kept_content(), [0, 0]);
    eprintln!("{megabytes} MiB: {told}");
}
