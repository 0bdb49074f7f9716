//! Legacy links of the default bridge: addresses, environment, names, and what becomes of them.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::Engine;
use serde_json::json;

#[test]
fn a_linked_container_is_known_by_its_alias() {
    let engine = Engine::start();
    let (db, web) = (engine.name("db"), engine.name("web"));
    engine
        .docker(&[
            "run", "-d", "--name", &db, "-h", "store", "-e", "SECRET=x", "--expose", "80",
            "--expose", "81", "--expose", "53/udp", "busybox", "sleep", "600",
        ])
        .ok();
    let link = format!("{db}:my-db");
    engine
        .docker(&[
            "run", "-d", "--name", &web, "--link", &link, "busybox", "sleep", "600",
        ])
        .ok();
    let address = engine.inspect(&db)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
    let address = address.as_str().unwrap();
    let inside = |script: &str| engine.docker(&["exec", &web, "sh", "-c", script]).ok();

    assert_eq!(
        inside("grep my-db /etc/hosts"),
        format!("{address}\tmy-db store {db}")
    );
    let environment = inside("env | grep ^MY_DB | sort");
    let wanted = [
        format!("MY_DB_ENV_SECRET=x\nMY_DB_NAME=/{web}/my-db\nMY_DB_PORT=tcp://{address}:80"),
        format!("MY_DB_PORT_53_UDP=udp://{address}:53\nMY_DB_PORT_53_UDP_ADDR={address}"),
        "MY_DB_PORT_53_UDP_PORT=53\nMY_DB_PORT_53_UDP_PROTO=udp".to_owned(),
        format!("MY_DB_PORT_80_TCP=tcp://{address}:80\nMY_DB_PORT_80_TCP_ADDR={address}"),
        format!("MY_DB_PORT_80_TCP_END=tcp://{address}:81\nMY_DB_PORT_80_TCP_PORT=80"),
        "MY_DB_PORT_80_TCP_PORT_END=81\nMY_DB_PORT_80_TCP_PORT_START=80".to_owned(),
        format!("MY_DB_PORT_80_TCP_PROTO=tcp\nMY_DB_PORT_80_TCP_START=tcp://{address}:80"),
        format!("MY_DB_PORT_81_TCP=tcp://{address}:81\nMY_DB_PORT_81_TCP_ADDR={address}"),
        "MY_DB_PORT_81_TCP_PORT=81\nMY_DB_PORT_81_TCP_PROTO=tcp".to_owned(),
    ];
    assert_eq!(environment, wanted.join("\n"));
    assert_eq!(
        inside("ping -c 1 -W 5 my-db >/dev/null && echo there"),
        "there"
    );

    let links = || engine.inspect(&web)["HostConfig"]["Links"].clone();
    assert_eq!(links(), json!([format!("/{db}:/{web}/my-db")]));
    let (_, list) = engine.http().get("/containers/json");
    let listed = list.as_array().unwrap().iter();
    let alias = json!(format!("/{web}/my-db"));
    let named = |names: &serde_json::Value| names.as_array().unwrap().contains(&alias);
    assert_eq!(
        listed
            .filter(|container| named(&container["Names"]))
            .count(),
        1
    );
    if engine.is_own() {
        engine.stop();
        engine.launch();
        assert_eq!(links(), json!([format!("/{db}:/{web}/my-db")]));
    }

    engine
        .docker(&["rm", "--link", &format!("{web}/my-db")])
        .ok();
    assert_eq!(links(), json!(null));
    assert_eq!(inside("grep -c my-db /etc/hosts; true"), "0");
    let refused = engine.docker(&["rm", "--link", &web]).expect(1);
    let text = "Conflict, cannot remove the default link name of the container";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
}

#[test]
fn what_is_linked_has_to_run() {
    let engine = Engine::start();
    let (db, web) = (engine.name("db"), engine.name("web"));
    engine
        .docker(&["create", "--name", &db, "busybox", "true"])
        .ok();
    let output = engine
        .docker(&["run", "--name", &web, "--link", &db, "busybox", "true"])
        .expect(125);
    let text = format!("Cannot link to a non running container: /{db} AS /{web}/{db}");
    assert!(output.stderr.contains(&text), "{}", output.stderr);
    let output = engine
        .docker(&["run", "--link", "nosuch:x", "busybox", "true"])
        .expect(125);
    let text = "could not get container for nosuch: No such container: nosuch";
    assert!(output.stderr.contains(text), "{}", output.stderr);
}
