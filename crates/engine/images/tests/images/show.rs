//! Images are looked at.

use arca_images::{Auth, RemoveOptions};

use crate::kit::Sample;
use crate::served;

#[tokio::test]
async fn lists_are_filtered() {
    let (one, two) = (Sample::new(&["one"]), Sample::new(&["two", "three"]));
    let (engine, _server, name) = served(&[("v1", &one), ("v2", &two)]).await;
    engine.pull(&name).await.unwrap();
    engine
        .images
        .tag(&format!("{name}:v1"), "busybox", "")
        .await
        .unwrap();
    let tags = |filters: &[(&str, &str)]| -> Vec<String> {
        engine
            .list(filters)
            .into_iter()
            .flat_map(|summary| summary.repo_tags)
            .collect()
    };
    let (v1, v2) = (format!("{name}:v1"), format!("{name}:v2"));
    assert_eq!(tags(&[]), [&v2, &v1, "busybox:latest"]);
    assert_eq!(tags(&[("reference", "busy*")]), ["busybox:latest"]);
    assert_eq!(tags(&[("reference", &name)]), [v2.clone(), v1.clone()]);
    assert_eq!(tags(&[("label", "first=two")]), std::slice::from_ref(&v2));
    assert_eq!(tags(&[("before", &v2)]), [&v1, "busybox:latest"]);
    assert_eq!(tags(&[("since", &v1)]), std::slice::from_ref(&v2));
    assert_eq!(
        tags(&[("until", "2024-01-01T12:00:00")]),
        [&v1, "busybox:latest"]
    );
    assert!(tags(&[("dangling", "true")]).is_empty());
}

#[tokio::test]
async fn history_begins_with_the_last_step() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let history = engine
        .images
        .history(&format!("{name}:v1"), None)
        .await
        .unwrap();
    let steps: Vec<_> = history
        .iter()
        .map(|item| {
            (
                item.created_by.as_str(),
                item.size,
                item.id.is_some(),
                item.tags.is_some(),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [("ADD two", 14, true, true), ("ADD one", 14, false, false)]
    );
}

#[tokio::test]
async fn events_have_dockerds_attributes() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let v1 = format!("{name}:v1");
    engine.pull(&v1).await.unwrap();
    engine.images.tag(&v1, "x", "y").await.unwrap();
    engine
        .images
        .remove("x:y", &RemoveOptions::default())
        .await
        .unwrap();
    engine
        .images
        .remove(&v1, &RemoveOptions::default())
        .await
        .unwrap();
    let id = sample.id();
    let events: Vec<_> = engine
        .events()
        .await
        .into_iter()
        .map(|event| {
            let name = event
                .actor
                .attributes
                .get("name")
                .cloned()
                .unwrap_or_default();
            (
                event.action,
                event.actor.id,
                name,
                event.actor.attributes.contains_key("first"),
            )
        })
        .collect();
    let event = |action: &str, id: &str, name: &str, labels: bool| {
        (action.to_owned(), id.to_owned(), name.to_owned(), labels)
    };
    assert_eq!(
        events,
        [
            event("pull", &v1, &name, true),
            event("tag", &id, "x:y", true),
            event("untag", &id, &id, true),
            event("untag", &id, &id, true),
            event("untag", &id, &id, true),
            event("delete", &id, &id, false),
        ]
    );
}

#[tokio::test]
async fn a_registry_is_asked_what_it_has() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let name = format!("{name}:v1");
    let found = engine
        .images
        .distribution(&name, Auth::Anonymous)
        .await
        .unwrap();
    assert_eq!(found.descriptor.digest, sample.digest());
    assert_eq!(
        (
            found.platforms.len(),
            found.platforms[0].architecture.as_str()
        ),
        (1, "amd64")
    );
    assert_eq!(engine.images.count(), 0);
}
