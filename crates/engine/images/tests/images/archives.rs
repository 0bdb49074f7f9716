//! Images are saved and loaded.

use arca_images::SaveRequest;
use arca_types::chain;

use crate::kit::{Engine, MANIFEST, Sample, collect, digest, tar};
use crate::{assert_nothing_is_left, served};

#[tokio::test]
async fn what_was_saved_loads_elsewhere_byte_for_byte() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    engine
        .images
        .tag(&format!("{name}:v1"), "busybox", "")
        .await
        .unwrap();
    let request = SaveRequest {
        names: vec![name.clone(), "busybox".to_owned()],
        platform: None,
    };
    let archive = collect(engine.images.save(&request).await.unwrap()).await;
    assert!(archive == collect(engine.images.save(&request).await.unwrap()).await);

    for archive in [archive.clone(), crate::kit::gzip(&archive)] {
        let other = Engine::new();
        let told = other.load(archive).await.unwrap();
        assert_eq!(
            told,
            [
                format!("Loaded image: {name}:v1\n"),
                "Loaded image: busybox:latest\n".to_owned()
            ]
        );
        let image = other.images.resolve("busybox", None).await.unwrap();
        assert_eq!(image.id.to_string(), sample.id());
        assert_eq!(image.manifest.digest, sample.digest());
        for blob in sample
            .blobs
            .iter()
            .chain([&sample.config, &sample.manifest])
        {
            assert!(other.storage.read_blob(&digest(blob)).await.unwrap() == *blob);
        }
        let again = collect(other.images.save(&request).await.unwrap()).await;
        assert_eq!(
            again.len(),
            collect(engine.images.save(&request).await.unwrap())
                .await
                .len()
        );
    }
    let error = engine
        .images
        .save(&SaveRequest {
            names: vec!["nosuch".to_owned()],
            platform: None,
        })
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "No such image: nosuch");
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn archives_of_old_are_loaded() {
    let sample = Sample::new(&["one", "two"]);
    let hex = digest(&sample.config).hex().to_owned();
    let manifest = format!(
        r#"[{{"Config":"{hex}.json","RepoTags":["old:x"],"Layers":["aaa/layer.tar","bbb/layer.tar"]}}]"#
    );
    let archive = archive(&[
        ("aaa/layer.tar", &sample.layers[0]),
        ("aaa/json", b"{}"),
        ("bbb/layer.tar", &sample.layers[1]),
        (&format!("{hex}.json"), &sample.config),
        ("manifest.json", manifest.as_bytes()),
        ("repositories", b"{}"),
    ]);
    let engine = Engine::new();
    assert_eq!(
        engine.load(archive).await.unwrap(),
        ["Loaded image: old:x\n"]
    );
    let image = engine.images.resolve("old:x", None).await.unwrap();
    assert_eq!((image.id.to_string(), image.layers.len()), (sample.id(), 2));
    let event = engine
        .events()
        .await
        .into_iter()
        .find(|event| event.action == "load")
        .unwrap();
    assert_eq!(event.actor.attributes.get("name"), Some(&sample.id()));
    assert_eq!(
        event.actor.attributes.get("first").map(String::as_str),
        Some("one")
    );
}

#[tokio::test]
async fn a_layout_of_oci_is_loaded() {
    let sample = Sample::new(&["one"]);
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes).hex());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"annotations":{{"io.containerd.image.name":"docker.io/library/x:y"}}}}]}}"#,
        sample.digest(),
        sample.manifest.len()
    );
    let members = [
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index.into_bytes()),
        (path(&sample.manifest), sample.manifest.clone()),
        (path(&sample.config), sample.config.clone()),
        (path(&sample.blobs[0]), sample.blobs[0].clone()),
    ];
    let members: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    let engine = Engine::new();
    assert_eq!(
        engine.load(archive(&members)).await.unwrap(),
        ["Loaded image: x:y\n"]
    );
    let image = engine.images.resolve("x:y", None).await.unwrap();
    assert_eq!(image.manifest.digest, sample.digest());
}

#[tokio::test]
async fn bad_archives_leave_nothing_behind() {
    let sample = Sample::new(&["one"]);
    let hex = digest(&sample.config).hex().to_owned();
    let config = format!("{hex}.json");
    let manifest = |layers: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["x:y"],"Layers":[{layers}]}}]"#)
    };
    let two = manifest(r#""a/layer.tar","a/layer.tar""#);
    let missing = manifest(r#""b/layer.tar""#);
    let good = manifest(r#""a/layer.tar""#);
    let other = tar("other", "x");
    for (members, wanted) in [
        (
            vec![("a/layer.tar", sample.layers[0].as_slice())],
            "invalid archive: it has neither manifest.json nor index.json".to_owned(),
        ),
        (
            vec![
                ("a/layer.tar", &sample.layers[0]),
                (&config, &sample.config),
                ("manifest.json", two.as_bytes()),
            ],
            "invalid archive: invalid manifest, layers length mismatch: expected 1, got 2"
                .to_owned(),
        ),
        (
            vec![
                ("a/layer.tar", &sample.layers[0]),
                (&config, &sample.config),
                ("manifest.json", missing.as_bytes()),
            ],
            "b/layer.tar is not in the archive".to_owned(),
        ),
        (
            vec![
                ("a/layer.tar", &other),
                (&config, &sample.config),
                ("manifest.json", good.as_bytes()),
            ],
            format!(
                "invalid diffID for layer 0: expected \"{}\", got \"{}\"",
                digest(&sample.layers[0]),
                digest(&other)
            ),
        ),
    ] {
        let engine = Engine::new();
        let error = engine.load(archive(&members)).await.unwrap_err();
        assert_eq!(chain(&error), wanted);
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn a_blob_in_an_archive_has_to_have_its_digest() {
    let sample = Sample::new(&["one"]);
    let wrong = digest(&sample.config);
    let path = format!("blobs/sha256/{}", wrong.hex());
    for (content, wanted) in [
        (
            b"{}".as_slice(),
            format!("invalid archive: {path} has another digest"),
        ),
        (
            &sample.layers[0],
            format!("filesystem layer verification failed for digest {wrong}"),
        ),
    ] {
        let engine = Engine::new();
        let error = engine.load(archive(&[(&path, content)])).await.unwrap_err();
        assert_eq!(chain(&error), wanted);
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let engine = Engine::new();
    assert!(engine.load(vec![1; 5000]).await.is_err());
    assert!(engine.load(Vec::new()).await.is_err());
}
