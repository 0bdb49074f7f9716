//! Each gate on both of its sides.

use arca_wire::container::{ContainerInspect, CreateRequest};
use arca_wire::image::{ImageInspect, ImageSummary};
use arca_wire::system::{Info, Runtime};
use serde_json::{Value, json};

use super::{ApiVersion, answer, request, shows_event};

fn version(minor: u32) -> ApiVersion {
    ApiVersion::split(&format!("/v1.{minor}/x")).0.unwrap()
}

/// The request as a server of today sees it, or the refusal.
fn create(minor: u32, body: &Value) -> Result<(CreateRequest, Vec<String>), String> {
    let mut request: CreateRequest = arca_wire::decode(body.to_string().as_bytes()).unwrap();
    match request::create(version(minor), &mut request) {
        Ok(warnings) => Ok((request, warnings)),
        Err(error) => Err(error.message().to_owned()),
    }
}

fn host(minor: u32, host: Value) -> Value {
    let (request, _) = create(minor, &json!({"Image": "a", "HostConfig": host})).unwrap();
    serde_json::to_value(request.host_config.unwrap()).unwrap()
}

fn refusal(minor: u32, mount: Value) -> Option<String> {
    create(
        minor,
        &json!({"Image": "a", "HostConfig": {"Mounts": [mount]}}),
    )
    .err()
}

#[test]
fn options_that_a_version_did_not_know_are_dropped() {
    let cases = [
        (25, "AutoRemove", json!(true), json!(false)),
        (42, "ConsoleSize", json!([3, 4]), json!([0, 0])),
        (40, "KernelMemoryTCP", json!(5), Value::Null),
        (43, "Annotations", json!({"a": "b"}), Value::Null),
    ];
    for (first, field, sent, before) in cases {
        assert_eq!(
            host(first - 1, json!({field: sent}))[field],
            before,
            "{field}"
        );
        assert_eq!(host(first, json!({field: sent}))[field], sent, "{field}");
    }
}

#[test]
fn defaults_of_old_are_filled_in() {
    assert_eq!(host(39, json!({}))["IpcMode"], "shareable");
    assert_eq!(host(40, json!({}))["IpcMode"], "");
    assert_eq!(host(40, json!({}))["CgroupnsMode"], "host");
    assert_eq!(host(41, json!({}))["CgroupnsMode"], "");
    let mount = json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true});
    let options =
        |minor| host(minor, json!({"Mounts": [mount]}))["Mounts"][0]["BindOptions"].clone();
    assert_eq!(options(43), json!({"ReadOnlyNonRecursive": true}));
    assert_eq!(options(44), Value::Null);
}

#[test]
fn mounts_are_refused_from_or_before_a_version() {
    let foreign = json!({"Type": "tmpfs", "Target": "/b", "VolumeOptions": {"NoCopy": true}});
    assert_eq!(refusal(41, foreign.clone()), None);
    assert_eq!(
        refusal(42, foreign).unwrap(),
        "VolumeOptions must not be specified on mount type \"tmpfs\""
    );
    for (first, mount, text) in [
        (
            45,
            json!({"Type": "volume", "VolumeOptions": {"Subpath": "x"}}),
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        (
            46,
            json!({"Type": "tmpfs", "TmpfsOptions": {"Options": [["x"]]}}),
            "TmpfsOptions.Options needs API v1.46 or newer",
        ),
        (
            48,
            json!({"Type": "image"}),
            "Mount type \"Image\" needs API v1.48 or newer",
        ),
    ] {
        assert_eq!(refusal(first - 1, mount.clone()).unwrap(), text);
        assert_eq!(refusal(first, mount), None);
    }
}

#[test]
fn several_networks_at_create_came_with_1_44() {
    let body = json!({"Image": "a", "NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": null}}});
    let refused = create(43, &body).unwrap_err();
    assert_eq!(
        refused,
        "Container cannot be created with multiple network endpoints: a, b"
    );
    assert!(create(44, &body).is_ok());
}

#[test]
fn the_mac_address_of_the_container_moves_to_its_main_endpoint() {
    let body = json!({"Image": "a", "MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": "n"}});
    for minor in [43, 44] {
        let (request, warnings) = create(minor, &body).unwrap();
        let networks = request.networking_config.unwrap().endpoints_config;
        assert_eq!(
            networks["n"].as_ref().unwrap().mac_address,
            "02:00:00:00:00:01"
        );
        assert_eq!(request.config.unwrap().mac_address, "");
        assert_eq!(
            warnings.len(),
            usize::from(minor == 44),
            "newer clients are warned"
        );
    }
    let host = json!({"Image": "a", "MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": "host"}});
    assert!(create(43, &host).is_err());
    let other = json!({"n": {"MacAddress": "02:00:00:00:00:02"}});
    let mut both = body;
    both["NetworkingConfig"] = json!({"EndpointsConfig": other});
    assert!(
        create(44, &both)
            .unwrap_err()
            .starts_with("the container-wide MAC address must match")
    );
}

#[test]
fn a_volume_driver_does_not_reach_mounts_any_more() {
    let body = json!({"Image": "a", "HostConfig": {
        "VolumeDriver": "x", "Mounts": [{"Type": "volume", "Source": "v", "Target": "/v"}],
    }});
    assert_eq!(create(41, &body).unwrap().1, Vec::<String>::new());
    assert!(
        create(42, &body).unwrap().1[0].starts_with("WARNING: the container-wide volume-driver")
    );
}

#[test]
fn images_are_shown_as_they_were() {
    let list = |minor| {
        let mut image = ImageSummary {
            size: 5,
            containers: 2,
            ..ImageSummary::default()
        };
        answer::image_list(version(minor), &mut image);
        image
    };
    assert_eq!(list(42).repo_tags, ["<none>:<none>"]);
    assert_eq!(list(43).repo_tags, [""; 0]);
    assert_eq!(
        (list(43).virtual_size, list(44).virtual_size),
        (Some(5), None)
    );
    assert_eq!((list(50).containers, list(51).containers), (-1, 2));

    let inspect = |minor| answer::image_inspect(version(minor), ImageInspect::default());
    assert!(inspect(44).get("ContainerConfig").is_some());
    assert!(inspect(45).get("ContainerConfig").is_none());
    assert_eq!(
        (&inspect(49)["Config"]["Tty"], &inspect(50)["Config"]["Tty"]),
        (&json!(false), &Value::Null)
    );
}

#[test]
fn info_is_shown_as_it_was() {
    let info = |minor| {
        let mut runtime = Runtime::default();
        runtime.status.insert("a".into(), "b".into());
        let info = Info {
            security_options: vec!["name=seccomp,profile=builtin".into()],
            runtimes: [("arca".to_owned(), runtime)].into(),
            firewall_backend: Some(arca_wire::system::FirewallInfo::default()),
            ..Info::default()
        };
        serde_json::to_value(answer::info(version(minor), info)).unwrap()
    };
    assert_eq!(info(24)["SecurityOptions"], json!(["seccomp"]));
    assert_eq!(
        info(25)["SecurityOptions"],
        json!(["name=seccomp,profile=builtin"])
    );
    assert_eq!(
        (&info(38)["KernelVersion"], &info(39)["KernelVersion"]),
        (&json!("<unknown>"), &json!(""))
    );
    assert_eq!(info(43)["Runtimes"]["arca"].get("status"), None);
    assert!(info(44)["Runtimes"]["arca"].get("status").is_some());
    assert!(info(48).get("FirewallBackend").is_none() && info(49).get("FirewallBackend").is_some());
    assert!(
        info(49).get("BridgeNfIptables").is_some() && info(50).get("BridgeNfIptables").is_none()
    );
}

#[test]
fn containers_and_events_are_shown_as_they_were() {
    assert!(
        !shows_event(version(45), "image", "create") && shows_event(version(46), "image", "create")
    );

    let recorded = include_str!("../../../wire/golden/container_inspect_full.json");
    let aliases = |minor| {
        let mut container: ContainerInspect = serde_json::from_str(recorded).unwrap();
        answer::container_inspect(version(minor), &mut container);
        container.network_settings.networks["golden-net"]
            .aliases
            .clone()
            .unwrap()
    };
    assert_eq!(aliases(44), ["al", "aaaaaaaaaaaa", "h"]);
    assert_eq!(aliases(45), ["al"]);
}
