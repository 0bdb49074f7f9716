//! Networks of containers: published ports, the modes `host`, `none` and `container:`, files in /etc.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use arca_testkit::{Engine, NetNs, eventually};

/// What an HTTP server behind `address` answers to `GET /`; none when it does not (yet).
fn get(engine: &Engine, address: &str) -> Option<String> {
    engine.in_netns(|| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        (!text.is_empty()).then_some(text)
    })
}

/// The host port that `docker port` tells for a container's port.
fn published(engine: &Engine, name: &str, port: &str) -> String {
    let output = engine.docker(&["port", name, port]).ok();
    output
        .lines()
        .next()
        .and_then(|line| line.rsplit(':').next())
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn nginx_answers_on_a_random_port() {
    let engine = Engine::start();
    engine.need_nginx();
    let name = engine.name("nginx");
    engine
        .docker(&["run", "-d", "--name", &name, "-p", "0:80", "nginx"])
        .ok();
    let port = published(&engine, &name, "80");
    let page = eventually("nginx answers", || {
        get(&engine, &format!("127.0.0.1:{port}"))
    });
    assert!(page.contains("Welcome to nginx!"), "{page}");
    if engine.is_own() {
        let page = eventually("on a host address", || {
            get(&engine, &format!("{}:{port}", NetNs::HOST_ADDRESS))
        });
        assert!(page.contains("Welcome to nginx!"), "{page}");
        let page = eventually("on IPv6 loopback", || {
            get(&engine, &format!("[::1]:{port}"))
        });
        assert!(page.contains("Welcome to nginx!"), "{page}");
    }
    let ports = &engine.inspect(&name)["NetworkSettings"]["Ports"]["80/tcp"];
    assert_eq!(ports[0]["HostIp"], "0.0.0.0");
    assert_eq!(ports[1]["HostIp"], "::");
    assert_eq!(ports[0]["HostPort"].as_str().unwrap(), port);
    // STOPSIGNAL SIGQUIT of the image: a graceful end.
    engine.docker(&["stop", &name]).ok();
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 0);
    assert!(get(&engine, &format!("127.0.0.1:{port}")).is_none());
    engine.docker(&["start", &name]).ok();
    let port = published(&engine, &name, "80");
    eventually("nginx answers again", || {
        get(&engine, &format!("127.0.0.1:{port}"))
    });
}

#[test]
fn redis_keeps_what_it_is_told() {
    let engine = Engine::start();
    engine.need_redis();
    let name = engine.name("redis");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "-p",
            "127.0.0.1:0:6379",
            "redis",
        ])
        .ok();
    let port = published(&engine, &name, "6379");
    let ask = |command: &str| {
        engine.in_netns(|| {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            stream
                .write_all(format!("{command}\r\nQUIT\r\n").as_bytes())
                .ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            (!text.is_empty()).then_some(text)
        })
    };
    eventually("redis answers", || {
        ask("PING").filter(|text| text.contains("+PONG"))
    });
    assert!(ask("SET k v").unwrap().contains("+OK"));
    assert!(
        engine
            .docker(&["exec", &name, "redis-cli", "GET", "k"])
            .ok()
            .contains('v')
    );
}

#[test]
fn udp_and_ranges_are_published() {
    let engine = Engine::start();
    engine.need_nginx();
    let (name, udp_name) = (engine.name("range"), engine.name("udp"));
    // They read the request first: a socket that is closed with something unread is reset.
    let script = "nc -ll -p 8001 -e sh -c 'read a; read b; echo one' & \
                  nc -ll -p 8002 -e sh -c 'read a; read b; echo two' & wait";
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "-p",
            "127.0.0.1::8001-8002",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    // Linked with the C library of the host's release, which the image is made of.
    let bind = format!(
        "{}:/udp-echo:ro",
        arca_testkit::program("udp-echo").display()
    );
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &udp_name,
            "-p",
            "127.0.0.1:0:53/udp",
            "-v",
            &bind,
            "nginx",
            "/udp-echo",
            "53",
        ])
        .ok();
    let udp = published(&engine, &udp_name, "53/udp");
    let echoed = eventually("the datagram comes back", || {
        engine.in_netns(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            socket
                .set_read_timeout(Some(Duration::from_millis(300)))
                .ok()?;
            socket.connect(format!("127.0.0.1:{udp}")).ok()?;
            socket.send(b"ping").ok()?;
            let mut buffer = [0; 16];
            let count = socket.recv(&mut buffer).ok()?;
            Some(buffer[..count].to_vec())
        })
    });
    assert_eq!(echoed, b"ping");
    for (port, word) in [("8001", "one\n"), ("8002", "two\n")] {
        let host = published(&engine, &name, port);
        let text = eventually("the port answers", || {
            get(&engine, &format!("127.0.0.1:{host}"))
        });
        assert_eq!(text, word);
    }
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let engine = Engine::start();
    let address = engine.free_address();
    let port = address.rsplit(':').next().unwrap();
    let (one, two) = (engine.name("one"), engine.name("two"));
    let publish = format!("{port}:80");
    engine
        .docker(&[
            "run", "-d", "--name", &one, "-p", &publish, "busybox", "sleep", "600",
        ])
        .ok();
    let refused = engine
        .docker(&[
            "run", "-d", "--name", &two, "-p", &publish, "busybox", "sleep", "600",
        ])
        .expect(125);
    assert!(
        refused.stderr.contains("port is already allocated"),
        "{}",
        refused.stderr
    );
    engine.docker(&["rm", "-f", &one]).ok();
    engine.docker(&["start", &two]).ok();
}

#[test]
fn containers_reach_each_other_and_their_published_ports() {
    let engine = Engine::start();
    let server = engine.name("server");
    engine
        .docker(&[
            "run", "-d", "--name", &server, "-p", "0:80", "busybox", "nc", "-ll", "-p", "80", "-e",
            "echo", "hello",
        ])
        .ok();
    let address = engine.inspect(&server)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .unwrap()
        .to_owned();
    let gateway = engine.inspect(&server)["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        .as_str()
        .unwrap()
        .to_owned();
    let port = published(&engine, &server, "80");
    eventually("the server answers its neighbour", || {
        let output = engine.docker(&["run", "--rm", "busybox", "nc", "-w", "2", &address, "80"]);
        (output.stdout == "hello\n").then_some(())
    });
    // Hairpin: the published port, seen from a neighbour and from itself.
    let through = engine.docker(&["run", "--rm", "busybox", "nc", "-w", "2", &gateway, &port]);
    assert_eq!(through.stdout, "hello\n");
    let own = engine.docker(&["exec", &server, "nc", "-w", "2", &gateway, &port]);
    assert_eq!(own.stdout, "hello\n");
}

#[test]
fn the_network_modes() {
    let engine = Engine::start();
    let links = |mode: &str| {
        engine
            .docker(&[
                "run",
                "--rm",
                "--network",
                mode,
                "busybox",
                "ls",
                "/sys/class/net",
            ])
            .ok()
    };
    assert_eq!(links("none"), "lo");
    assert_eq!(links("bridge"), "eth0\nlo");
    assert_ne!(links("host"), "eth0\nlo");
    let name = engine.name("first");
    engine
        .docker(&[
            "run", "-d", "--name", &name, "-h", "first", "busybox", "sleep", "600",
        ])
        .ok();
    let address = engine
        .docker(&["exec", &name, "ip", "-4", "-o", "addr", "show", "eth0"])
        .ok();
    let joined = engine
        .docker(&[
            "run",
            "--rm",
            "--network",
            &format!("container:{name}"),
            "busybox",
            "sh",
            "-c",
            "hostname; ip -4 -o addr show eth0",
        ])
        .ok();
    assert_eq!(joined, format!("first\n{address}"));
    let networks = engine.inspect(&name)["NetworkSettings"]["Networks"]["bridge"].clone();
    assert_eq!(networks["NetworkID"].as_str().unwrap().len(), 64);
    assert!(address.contains(networks["IPAddress"].as_str().unwrap()));
}

#[test]
fn the_files_in_etc_say_who_and_where() {
    let engine = Engine::start();
    let name = engine.name("etc");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "-h",
            "box",
            "--dns",
            "192.0.2.53",
            "--dns-search",
            "example.org",
            "--dns-option",
            "ndots:2",
            "--add-host",
            "friend:192.0.2.7",
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    let file = |path: &str| engine.docker(&["exec", &name, "cat", path]).ok();
    assert_eq!(file("/etc/hostname"), "box");
    let hosts = file("/etc/hosts");
    let address = engine.inspect(&name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert!(hosts.contains("192.0.2.7\tfriend"), "{hosts}");
    assert!(hosts.contains(&format!("{address}\tbox")), "{hosts}");
    let resolv = file("/etc/resolv.conf");
    assert!(resolv.contains("nameserver 192.0.2.53"), "{resolv}");
    assert!(
        resolv.contains("search example.org") && resolv.contains("options ndots:2"),
        "{resolv}"
    );
}
