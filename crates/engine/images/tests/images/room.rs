//! Images go when the disk is full, and damaged content is found and fetched again.

use std::time::Duration;

use arca_images::{Damaged, GcPolicy, ListOptions, RemoveOptions};

use crate::kit::{Engine, Sample, digest};
use crate::{container, served};

/// Every disk is used more than this.
fn full() -> GcPolicy {
    GcPolicy {
        high: 0,
        low: 0,
        keep: Duration::ZERO,
        ..GcPolicy::default()
    }
}

#[tokio::test]
async fn what_nobody_uses_goes_the_longest_unused_first() {
    let samples = ["a", "b", "c", "d", "e"].map(|name| Sample::new(&["base", name]));
    let [a, b, c, d, e] = &samples;
    let tagged = [("a", a), ("b", b), ("c", c), ("d", d), ("e", e)];
    let (engine, _server, name) = served(&tagged).await;
    for (tag, _) in tagged {
        engine.pull(&format!("{name}:{tag}")).await.unwrap();
    }
    // `a` is wanted again, `c` has a container, `d` is pinned by its name.
    engine.pull(&format!("{name}:a")).await.unwrap();
    let user = container();
    engine
        .images
        .acquire(&c.id().parse().unwrap(), &user)
        .unwrap();
    engine.images.set_gc_policy(GcPolicy {
        pinned: vec![format!("{name}:d*")],
        ..full()
    });
    let planned = engine.images.gc(true).await.unwrap();
    let ids = |images: &[arca_images::GcImage]| -> Vec<String> {
        images.iter().map(|image| image.id.to_string()).collect()
    };
    assert_eq!(ids(&planned.images), [b.id(), e.id(), a.id()]);
    assert_eq!(engine.images.count(), 5);
    let done = engine.images.gc(false).await.unwrap();
    assert_eq!(ids(&done.images), ids(&planned.images));
    assert!(!done.enough);
    let mut left: Vec<_> = engine
        .list(&[])
        .iter()
        .map(|image| image.id.to_string())
        .collect();
    left.sort();
    let mut wanted = vec![c.id(), d.id()];
    wanted.sort();
    assert_eq!(left, wanted);
    let mut events = engine.events().await;
    events.retain(|event| event.action == "delete");
    let reasons = events
        .iter()
        .map(|event| event.actor.attributes.get("reason").cloned());
    assert_eq!(reasons.collect::<Vec<_>>(), vec![Some("gc".to_owned()); 3]);
    // The layer below is still there for the others.
    assert!(engine.storage.layer(&digest(&c.layers[0]).into()).is_some());
    assert!(engine.storage.blob(&digest(&a.blobs[1])).is_none());
}

#[tokio::test]
async fn what_is_pinned_or_new_stays() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    engine.images.set_gc_policy(GcPolicy {
        pin_label: "first".to_owned(),
        ..full()
    });
    assert!(engine.images.gc(false).await.unwrap().images.is_empty());
    engine.images.set_gc_policy(GcPolicy {
        keep: Duration::from_secs(60),
        ..full()
    });
    assert!(engine.images.gc(false).await.unwrap().images.is_empty());
    // When it was used is known after a restart.
    let engine = engine.restart();
    engine.images.set_gc_policy(GcPolicy {
        keep: Duration::from_secs(60),
        ..full()
    });
    assert!(engine.images.gc(false).await.unwrap().images.is_empty());
    engine.images.set_gc_policy(GcPolicy { low: 100, ..full() });
    let report = engine.images.gc(false).await.unwrap();
    assert!(report.enough && report.images.is_empty());
    engine.images.set_gc_policy(full());
    assert_eq!(engine.images.gc(false).await.unwrap().images.len(), 1);
    engine.assert_empty().await;
}

fn blob_file(engine: &Engine, blob: &[u8]) -> std::path::PathBuf {
    engine.storage.blob(&digest(blob)).unwrap().path
}

/// The only directory of a layer with this file.
fn layer_file(engine: &Engine, name: &str) -> std::path::PathBuf {
    let layers = std::fs::read_dir(engine.dir.path().join("layers")).unwrap();
    let mut found = layers.map(|entry| entry.unwrap().path().join(name));
    found.find(|path| path.exists()).unwrap()
}

#[tokio::test]
async fn damage_is_found_and_fetched_again() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let sound = engine.images.verify(false).await.unwrap();
    assert_eq!((sound.blobs, sound.layers), (4, 2));
    assert!(sound.damaged.is_empty(), "{:?}", sound.damaged);

    std::fs::write(blob_file(&engine, &sample.blobs[0]), "rotten").unwrap();
    std::fs::remove_file(blob_file(&engine, &sample.config)).unwrap();
    std::fs::write(layer_file(&engine, "two"), "contant of two").unwrap();
    let found = engine.images.verify(false).await.unwrap();
    let damaged: Vec<_> = found
        .damaged
        .iter()
        .map(|damage| damage.content.clone())
        .collect();
    let layer = |at: usize| Damaged::Layer(digest(&sample.layers[at]).into());
    for wanted in [
        Damaged::Blob(digest(&sample.blobs[0])),
        Damaged::Blob(digest(&sample.config)),
        layer(0),
        layer(1),
    ] {
        assert!(damaged.contains(&wanted), "{wanted:?} in {damaged:?}");
    }
    assert!(
        found
            .damaged
            .iter()
            .all(|damage| damage.images[0].to_string() == sample.id())
    );

    let repaired = engine.images.verify(true).await.unwrap();
    assert!(
        repaired
            .damaged
            .iter()
            .all(|damage| damage.repair == Some(Ok(()))),
        "{repaired:?}"
    );
    let after = engine.images.verify(false).await.unwrap();
    assert!(after.damaged.is_empty(), "{after:?}");
    let text = std::fs::read_to_string(layer_file(&engine, "two")).unwrap();
    assert_eq!(text, "content of two");
    drop(server);
}

#[tokio::test]
async fn what_cannot_be_fetched_stays_as_it_is() {
    let sample = Sample::new(&["one"]);
    let shelf = std::sync::Arc::new(crate::shelf::Shelf::default());
    shelf.image("a/b", "v1", &sample);
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    engine.pull(&name).await.unwrap();
    std::fs::write(layer_file(&engine, "one"), "else").unwrap();
    shelf.clear();
    let found = engine.images.verify(true).await.unwrap();
    let [damage] = found.damaged.as_slice() else {
        panic!("{found:?}")
    };
    let problem = damage.repair.clone().unwrap().unwrap_err();
    assert!(problem.contains("manifest unknown"), "{problem}");
    assert_eq!(
        std::fs::read_to_string(layer_file(&engine, "one")).unwrap(),
        "else"
    );
    // An ordinary pull brings what has gone altogether.
    std::fs::remove_dir_all(layer_file(&engine, "one").parent().unwrap()).unwrap();
    let engine = engine.restart();
    shelf.image("a/b", "v1", &sample);
    engine.pull(&name).await.unwrap();
    assert!(
        engine
            .images
            .verify(false)
            .await
            .unwrap()
            .damaged
            .is_empty()
    );
    assert_eq!(
        engine.images.list(&ListOptions::default()).unwrap().len(),
        1
    );
    engine
        .images
        .remove(&name, &RemoveOptions::default())
        .await
        .unwrap();
    engine.assert_empty().await;
}
