//! Keys of a compose file that few applications have.

use arca_testkit::{Compose, Engine};

const APP: &str = r#"
services:
  base:
    image: busybox
    init: true
    command: sleep 1d
    container_name: CHOSEN
    volumes: ["data:/data"]
    networks: { front: { mac_address: "02:42:0a:00:00:63" } }
  app:
    image: busybox
    init: true
    command: sleep 1d
    links: ["base:friend"]
    volumes_from: [base]
    userns_mode: host
    uts: host
    ipc: shareable
    label_file: [./labels]
    annotations: { org.example.note: kept }
    pull_policy: missing
    pids_limit: 50
    oom_score_adj: 4
    cpu_shares: 512
    device_cgroup_rules: ["c 1:3 rwm"]
    volumes:
      - { type: image, source: busybox, target: /img }
      - { type: volume, source: data, target: /again, volume: { nocopy: true } }
      - { type: bind, source: ./labels, target: /labels, read_only: true, bind: { propagation: rprivate } }
    networks:
      front: { gw_priority: 5, interface_name: lan0 }
      back:
        aliases: [x]
        link_local_ips: [169.254.8.8]
        driver_opts: { com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1 }
volumes:
  data: { driver: local, driver_opts: { type: tmpfs, device: tmpfs, o: "size=1m" } }
networks:
  front: { enable_ipv6: true, labels: { org.example: front } }
  back: { attachable: true, internal: true }
"#;

#[test]
fn keys_of_few_applications_have_their_effect() {
    let engine = Engine::start();
    let name = engine.name("base");
    let app = Compose::of(&engine, &APP.replace("CHOSEN", &name));
    let labels = app.file().with_file_name("labels");
    assert!(std::fs::write(labels, "org.label.file=yes\n").is_ok());
    app.run(&["up", "-d"]).ok();
    let inside = |script: &str| app.run(&["exec", "-T", "app", "sh", "-c", script]).ok();
    inside("ping -c 1 friend");
    assert!(inside("ls /img").contains("bin"));
    assert_eq!(inside("echo kept >/data/file; cat /again/file"), "kept");
    assert!(inside("mount").contains("tmpfs on /data type tmpfs"));
    assert!(inside("(echo >>/labels) 2>&1 || true").contains("Read-only file system"));
    assert!(inside("ip route | grep default").ends_with("dev lan0"));
    let links = inside("ip -o address");
    assert!(links.contains("169.254.8.8"), "{links}");
    assert!(inside("cat /proc/sys/net/ipv4/conf/*/log_martians").contains('1'));
    assert_eq!(inside("cat /proc/1/oom_score_adj"), "4");
    let mac = engine.docker(&["exec", &name, "cat", "/sys/class/net/eth0/address"]);
    assert_eq!(mac.ok(), "02:42:0a:00:00:63");
    let seen = engine.inspect(&app.run(&["ps", "-q", "app"]).ok());
    let host = &seen["HostConfig"];
    let shown = [
        &seen["Config"]["Labels"]["org.label.file"],
        &host["Annotations"]["org.example.note"],
        &host["UTSMode"],
        &host["UsernsMode"],
        &host["IpcMode"],
        &host["DeviceCgroupRules"][0],
    ];
    let expected = ["yes", "kept", "host", "host", "shareable", "c 1:3 rwm"];
    assert_eq!(
        shown.map(|value| value.as_str().unwrap_or_default()),
        expected
    );
    assert_eq!(
        (host["PidsLimit"].as_i64(), host["CpuShares"].as_i64()),
        (Some(50), Some(512))
    );
    let again = app.run(&["up", "-d"]).expect(0);
    assert!(!again.stderr.contains("Recreate"), "{}", again.stderr);
    app.run(&["down", "-v", "-t", "0"]).ok();
}
