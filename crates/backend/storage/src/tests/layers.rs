//! Layers are taken in whole or not at all.

use super::common::{self, Fixture, gzip, layer, sha256, zstd};
use crate::{Compression, Error, LayerSource, Roots};
use bytes::Bytes;

fn source(blob: &[u8]) -> LayerSource {
    LayerSource {
        digest: Some(sha256(blob)),
        size: Some(blob.len() as u64),
        ..LayerSource::default()
    }
}

#[tokio::test]
async fn a_layer_is_stored_and_unpacked_whatever_its_compression() {
    let archive = layer(&[("etc/motd", "hello"), ("bin/sh", &"x".repeat(700_000))]);
    for blob in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let fixture = Fixture::new();
        let lease = fixture.storage.lease();
        let mut ingest = fixture.storage.ingest_layer(&lease, source(&blob));
        for piece in blob.chunks(9_999) {
            ingest.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(ingest.received(), blob.len() as u64);
        let taken = ingest.finish().await.unwrap();

        assert_eq!(taken.diff_id.digest(), &sha256(&archive));
        assert_eq!(
            (taken.blob.clone(), taken.blob_size),
            (sha256(&blob), blob.len() as u64)
        );
        assert_eq!(taken.size, 700_005);
        let stored = std::fs::read(fixture.storage.blob(&taken.blob).unwrap().path).unwrap();
        assert!(stored == blob);
        let mut tar = Vec::new();
        let mut reader = fixture.storage.read_layer_tar(&taken.diff_id).unwrap();
        std::io::Read::read_to_end(&mut reader, &mut tar).unwrap();
        assert!(tar == archive);
        let image = fixture
            .storage
            .open_image(std::slice::from_ref(&taken.diff_id))
            .await
            .unwrap();
        assert_eq!(common::read(&image, "etc/motd"), "hello");
        assert_eq!(
            common::read(&image, "etc/hosts"),
            "",
            "what every container has"
        );
    }
}

/// A name, what arrives, what was announced, and what the error says.
type Case = (&'static str, Vec<u8>, LayerSource, &'static str);

fn broken_layers() -> Vec<Case> {
    let archive = layer(&[("file", &"content".repeat(5000))]);
    let blob = gzip(&archive);
    let mut corrupt = blob.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0xff;
    let hostile = gzip(&layer(&[(".wh...", "x")]));
    let other = LayerSource {
        diff_id: Some(sha256(b"other").into()),
        ..source(&blob)
    };
    let short = LayerSource {
        size: Some(10),
        ..source(&blob)
    };
    vec![
        ("corrupt", corrupt.clone(), source(&blob), "verification"),
        (
            "truncated",
            blob[..middle].to_vec(),
            source(&blob),
            "verification",
        ),
        (
            "longer",
            [blob.clone(), vec![0; 100]].concat(),
            source(&blob),
            "verification",
        ),
        ("larger than announced", blob.clone(), short, "verification"),
        ("another diff ID", blob.clone(), other, "invalid diffID"),
        (
            "a corrupt original",
            corrupt.clone(),
            source(&corrupt),
            "decompress",
        ),
        (
            "a truncated original",
            blob[..middle].to_vec(),
            source(&blob[..middle]),
            "decompress",
        ),
        (
            "a truncated archive",
            gzip(&archive[..2000]),
            source(&gzip(&archive[..2000])),
            "unexpected EOF",
        ),
        (
            "hostile",
            hostile.clone(),
            source(&hostile),
            "invalid whiteout",
        ),
        ("bzip2", b"BZh91AY".to_vec(), source(b"BZh91AY"), "bzip2"),
    ]
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new();
    for (name, blob, source, text) in broken_layers() {
        let lease = fixture.storage.lease();
        let mut ingest = fixture.storage.ingest_layer(&lease, source);
        let mut outcome = Ok(());
        for piece in blob.chunks(1000) {
            outcome = ingest.write(Bytes::copy_from_slice(piece)).await;
            if outcome.is_err() {
                break;
            }
        }
        let error = match outcome {
            Ok(()) => ingest.finish().await.expect_err(name),
            Err(error) => error,
        };
        let error = arca_types::chain(&error);
        assert!(error.contains(text), "{name}: {error}");
        drop(lease);
    }
    fixture.storage.reclaimed().await.unwrap();
    fixture.assert_empty();
}

#[tokio::test]
async fn a_layer_given_up_leaves_nothing() {
    let fixture = Fixture::new();
    let blob = gzip(&layer(&[("file", &"content".repeat(50_000))]));
    let lease = fixture.storage.lease();
    let mut ingest = fixture.storage.ingest_layer(&lease, source(&blob));
    ingest
        .write(Bytes::copy_from_slice(&blob[..blob.len() / 2]))
        .await
        .unwrap();
    drop(ingest);
    // The same again, all of it but the end.
    let mut ingest = fixture.storage.ingest_layer(&lease, source(&blob));
    ingest.write(Bytes::from(blob)).await.unwrap();
    drop(ingest);
    // Waits for the tasks of the runtime, which hold the storage, and then for the trash.
    fixture.until_idle().await;
    fixture.assert_empty();
}

#[tokio::test]
async fn the_same_layer_twice_is_stored_once() {
    let fixture = Fixture::new();
    let archive = layer(&[("file", "content")]);
    let lease = fixture.storage.lease();
    let blobs = [
        gzip(&archive),
        archive.clone(),
        zstd(&archive),
        gzip(&archive),
    ];
    let mut diff_ids = Vec::new();
    let mut ingests: Vec<_> = blobs
        .iter()
        .map(|blob| fixture.storage.ingest_layer(&lease, source(blob)))
        .collect();
    for (ingest, blob) in ingests.iter_mut().zip(&blobs) {
        ingest.write(Bytes::copy_from_slice(blob)).await.unwrap();
    }
    for ingest in ingests {
        diff_ids.push(ingest.finish().await.unwrap().diff_id);
    }
    let known = LayerSource {
        diff_id: Some(diff_ids[0].clone()),
        compression: Compression::None,
        ..source(&archive)
    };
    let mut ingest = fixture.storage.ingest_layer(&lease, known);
    ingest.write(Bytes::from(archive)).await.unwrap();
    assert_eq!(ingest.finish().await.unwrap().size, 7);
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1);
    fixture.until_idle().await;
    assert_eq!(
        fixture.count("layers"),
        3,
        "the layer and the two that are always there"
    );
    assert_eq!(fixture.count("blobs/sha256"), 3);
}

#[tokio::test]
async fn what_nobody_holds_is_collected() {
    let fixture = Fixture::new();
    let lease = fixture.storage.lease();
    let mut layers = Vec::new();
    for name in ["root", "leased", "snapshot", "free"] {
        layers.push(fixture.ingest(&lease, &gzip(&layer(&[(name, name)]))).await);
    }
    let manifest = fixture.storage.put_blob(&lease, None, b"{}").await.unwrap();
    let id = arca_types::ContainerId::random();
    fixture
        .storage
        .prepare(&id, &[layers[2].diff_id.clone()])
        .await
        .unwrap();
    let second = fixture.storage.lease();
    assert!(second.layer(&layers[1].diff_id).is_some());
    drop(lease);
    let mut roots = Roots::default();
    roots.layers.insert(layers[0].diff_id.clone());
    roots.blobs.insert(manifest.clone());

    let collected = fixture.storage.collect(&roots).await.unwrap();

    assert_eq!(collected.layers, [layers[3].diff_id.clone()]);
    assert_eq!(collected.blobs, [layers[3].blob.clone()]);
    assert_eq!(collected.layer_bytes, 4);
    assert!(fixture.storage.layer(&layers[3].diff_id).is_none());
    assert!(matches!(
        fixture.storage.open_blob(&layers[3].blob),
        Err(Error::NoBlob(digest)) if digest == layers[3].blob
    ));
    drop(second);
    fixture.storage.remove(&id).await.unwrap();
    let collected = fixture.storage.collect(&Roots::default()).await.unwrap();
    assert_eq!((collected.layers.len(), collected.blobs.len()), (3, 4));
    fixture.until_idle().await;
    fixture.assert_empty();
}

#[tokio::test]
async fn a_small_blob_has_to_be_what_it_is_called() {
    let fixture = Fixture::new();
    let lease = fixture.storage.lease();
    let digest = sha256(b"manifest");
    let stored = fixture
        .storage
        .put_blob(&lease, Some(&digest), b"manifest")
        .await
        .unwrap();
    assert_eq!(stored, digest);
    assert_eq!(
        fixture.storage.read_blob(&digest).await.unwrap(),
        b"manifest"
    );
    let refused = fixture
        .storage
        .put_blob(&lease, Some(&digest), b"other")
        .await
        .unwrap_err();
    assert!(refused.is_verification(), "{refused}");
}

#[tokio::test]
async fn what_was_not_synced_is_dropped_after_a_reboot_only() {
    let mut fixture = Fixture::new();
    let lease = fixture.storage.lease();
    let synced = fixture.ingest(&lease, &gzip(&layer(&[("a", "a")]))).await;
    fixture.storage.sync().await.unwrap();
    let unsynced = fixture.ingest(&lease, &gzip(&layer(&[("b", "b")]))).await;
    drop(lease);

    fixture.restart();
    assert!(
        fixture.storage.layer(&unsynced.diff_id).is_some(),
        "the machine has not gone down"
    );
    fixture.restart_after("UPDATE layers SET body = CAST(replace(CAST(body AS TEXT), '\"unsynced\":\"', '\"unsynced\":\"x') AS BLOB);");

    assert!(fixture.storage.layer(&synced.diff_id).is_some());
    assert!(fixture.storage.layer(&unsynced.diff_id).is_none());
}

#[tokio::test]
async fn leftovers_and_losses_are_noticed_at_start() {
    let mut fixture = Fixture::new();
    let lease = fixture.storage.lease();
    let kept = fixture.ingest(&lease, &gzip(&layer(&[("a", "a")]))).await;
    let lost = fixture
        .storage
        .put_blob(&lease, None, b"lost")
        .await
        .unwrap();
    let id = arca_types::ContainerId::random();
    fixture
        .storage
        .prepare(&id, std::slice::from_ref(&kept.diff_id))
        .await
        .unwrap();
    drop(lease);
    let root = fixture.root();
    std::fs::remove_file(fixture.storage.blob(&lost).unwrap().path).unwrap();
    for leftover in ["layers/77", "snapshots/78", "tmp/79", "trash/80"] {
        std::fs::create_dir(root.join(leftover)).unwrap();
    }
    std::fs::write(root.join("blobs/sha256/partial"), "x").unwrap();

    fixture.restart();
    fixture.until_idle().await;

    assert!(fixture.storage.blob(&lost).is_none());
    assert!(fixture.storage.layer(&kept.diff_id).is_some());
    assert_eq!(fixture.storage.snapshots(), [id]);
    let counts =
        ["layers", "snapshots", "tmp", "trash", "blobs/sha256"].map(|name| fixture.count(name));
    assert_eq!(counts, [3, 1, 0, 0, 1]);
}
