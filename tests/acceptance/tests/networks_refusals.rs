//! `docker network` and the network flags of `docker run` with bad values: the exit code and the engine's
//! words, which are dockerd's, in a table.

use std::sync::Mutex;

use arca_testkit::Engine;

/// What stands in the tables for names of this test: networks, and containers that run, that do not, and
/// that are on the host's network. `NETX` is a network that there is not.
const NAMES: [&str; 9] = [
    "NETAUTO", "OTHER", "NET2", "NET", "CFG", "STOPHOST", "HOSTRUN", "STOP", "RUN",
];

/// Commands, and what every engine says to them.
const SAME: &[(&str, &str)] = &[
    (
        "network create -d nonsense NETX",
        "plugin \"nonsense\" not found",
    ),
    (
        "network create -d host NETX",
        "only one instance of \"host\" network is allowed",
    ),
    ("network create -d none NETX", "plugin \"none\" not found"),
    (
        "network create -d null NETX",
        "only one instance of \"null\" network is allowed",
    ),
    (
        "network create -d bridge bridge",
        "operation is not permitted on predefined bridge network",
    ),
    (
        "network create bridge",
        "operation is not permitted on predefined bridge network",
    ),
    (
        "network create host",
        "operation is not permitted on predefined host network",
    ),
    (
        "network create none",
        "operation is not permitted on predefined none network",
    ),
    (
        "network create default",
        "operation is not permitted on predefined default network",
    ),
    ("network create \"\"", "invalid name: name is empty"),
    ("network create NET", "network with name NET already exists"),
    (
        "network create --subnet 10.77.141.0 NETX",
        "invalid network config:\ninvalid subnet 10.77.141.0: invalid CIDR block notation",
    ),
    (
        "network create --subnet 10.77.141.0/33 NETX",
        "invalid network config:\ninvalid subnet 10.77.141.0/33: invalid CIDR block notation",
    ),
    (
        "network create --subnet nonsense NETX",
        "invalid network config:\ninvalid subnet nonsense: invalid CIDR block notation",
    ),
    (
        "network create --subnet 10.77.141.7/24 NETX",
        "invalid network config:\ninvalid subnet 10.77.141.7/24: it should be 10.77.141.0/24",
    ),
    (
        "network create --subnet 10.77.140.0/25 NETX",
        "invalid pool request: Pool overlaps with other one on this address space",
    ),
    (
        "network create --subnet 10.77.140.0/24 NETX",
        "invalid pool request: Pool overlaps with other one on this address space",
    ),
    (
        "network create --subnet 10.77.0.0/16 NETX",
        "invalid pool request: Pool overlaps with other one on this address space",
    ),
    (
        "network create --subnet 10.77.141.0/24 --ip-range 10.77.141.7/25 NETX",
        "invalid network config:\ninvalid ip-range 10.77.141.7/25: it should be 10.77.141.0/25",
    ),
    (
        "network create --subnet 10.77.141.0/24 --aux-address x=10.77.141.1 --gateway 10.77.141.1 NETX",
        "failed to allocate secondary ip address (x:10.77.141.1): Address already in use",
    ),
    (
        "network create --subnet fd00:77::/64 --ipv4=false NETX",
        "IPv4 or IPv6 must be enabled",
    ),
    (
        "network create --subnet 10.77.141.0/24 --ipv4=false NETX",
        "IPv4 or IPv6 must be enabled",
    ),
    (
        "network create --ipv4=false NETX",
        "IPv4 or IPv6 must be enabled",
    ),
    (
        "network create --ipv6 --subnet fd00:77::/129 NETX",
        "invalid network config:\ninvalid subnet fd00:77::/129: invalid CIDR block notation",
    ),
    (
        "network create --ipv6 --subnet fd00:77::1/64 NETX",
        "invalid network config:\ninvalid subnet fd00:77::1/64: it should be fd00:77::/64",
    ),
    (
        "network create --subnet 0.0.0.0/0 NETX",
        "invalid pool request: Pool overlaps with other one on this address space",
    ),
    (
        "network create --ipam-driver nonsense NETX",
        "plugin \"nonsense\" not found",
    ),
    (
        "network create --ipam-driver null NETX",
        "ipv4 pool is empty",
    ),
    (
        "network create --ingress NETX",
        "Ingress network can only be global scope network",
    ),
    (
        "network create --scope swarm NETX",
        "cannot create a swarm scoped network when swarm is not active",
    ),
    (
        "network create --config-only --subnet 10.77.141.0/24 --internal NETX",
        "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
    ),
    (
        "network create --config-only --attachable NETX",
        "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
    ),
    (
        "network create --config-only --config-from NET NETX",
        "a configuration network cannot depend on another configuration network",
    ),
    (
        "network create --config-from nonsense NETX",
        "configuration network \"nonsense\" does not exist",
    ),
    (
        "network create --config-from NET NETX",
        "configuration network \"NET\" does not exist",
    ),
    (
        "network create --config-from NET --subnet 10.77.141.0/24 NETX",
        "user specified configurations are not supported if the network depends on a configuration network",
    ),
    (
        "network create -d overlay NETX",
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ),
    (
        "network create -d overlay --attachable NETX",
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ),
    (
        "network create -o com.docker.network.bridge.enable_icc=nonsense NETX",
        "failed to parse com.docker.network.bridge.enable_icc value: nonsense (strconv.ParseBool: parsing \"nonsense\": invalid syntax)",
    ),
    (
        "network create -o com.docker.network.bridge.enable_ip_masquerade=nonsense NETX",
        "failed to parse com.docker.network.bridge.enable_ip_masquerade value: nonsense (strconv.ParseBool: parsing \"nonsense\": invalid syntax)",
    ),
    (
        "network create -o com.docker.network.bridge.host_binding_ipv4=nonsense NETX",
        "failed to parse com.docker.network.bridge.host_binding_ipv4 value: nonsense (nil ip)",
    ),
    (
        "network create -o com.docker.network.bridge.gateway_mode_ipv4=nonsense NETX",
        "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: nonsense (unknown gateway mode nonsense)",
    ),
    (
        "network create -o com.docker.network.bridge.gateway_mode_ipv6=nonsense NETX",
        "failed to parse com.docker.network.bridge.gateway_mode_ipv6 value: nonsense (unknown gateway mode nonsense)",
    ),
    (
        "network create -o com.docker.network.bridge.gateway_mode_ipv4=isolated NETX",
        "gateway mode 'isolated' can only be used for an internal network",
    ),
    (
        "network create -o com.docker.network.bridge.name=lo NETX",
        "existing interface lo is not a bridge",
    ),
    (
        "network create -o com.docker.network.bridge.inhibit_ipv4=nonsense NETX",
        "failed to parse com.docker.network.bridge.inhibit_ipv4 value: nonsense (strconv.ParseBool: parsing \"nonsense\": invalid syntax)",
    ),
    (
        "network create -o com.docker.network.driver.mtu=nonsense NETX",
        "failed to parse com.docker.network.driver.mtu value: nonsense (strconv.Atoi: parsing \"nonsense\": invalid syntax)",
    ),
    (
        "network create -o com.docker.network.driver.mtu=-1 NETX",
        "invalid MTU number: -1",
    ),
    (
        "network create -d macvlan -o parent=nonsense.4097 NETX",
        "-o parent interface was not found on the host: nonsense",
    ),
    (
        "network create -d macvlan -o parent=lo NETX",
        "loopback interface is not a valid macvlan parent link",
    ),
    (
        "network create -d macvlan -o macvlan_mode=nonsense NETX",
        "requested macvlan mode 'nonsense' is not valid, 'bridge' mode is the macvlan driver default",
    ),
    (
        "network create -d macvlan -o nonsense=x NETX",
        "operation not supported",
    ),
    (
        "network create -d ipvlan -o ipvlan_mode=nonsense NETX",
        "requested ipvlan mode 'nonsense' is not valid, 'l2' mode is the ipvlan driver default",
    ),
    (
        "network create -d ipvlan -o ipvlan_flag=nonsense NETX",
        "requested ipvlan flag 'nonsense' is not valid, 'bridge' is the ipvlan driver default",
    ),
    (
        "network create -d macvlan -o parent=averyverylonginterfacename NETX",
        "invalid subinterface vlan name averyverylonginterfacename, example formatting is eth0.10",
    ),
    (
        "network ls --filter nonsense=x",
        "invalid filter 'nonsense'",
    ),
    (
        "network ls --filter type=nonsense",
        "invalid filter: 'type'='nonsense'",
    ),
    (
        "network ls --filter dangling=nonsense",
        "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
    ),
    ("network inspect nonsense", "network nonsense not found"),
    (
        "network inspect NET nonsense -f {{.Name}}",
        "network nonsense not found",
    ),
    ("network inspect a/b", "network a/b not found"),
    (
        "network connect NET RUN",
        "endpoint with name RUN already exists in network NET",
    ),
    (
        "network connect NET nonsense",
        "No such container: nonsense",
    ),
    ("network connect nonsense RUN", "network nonsense not found"),
    (
        "network connect nonsense nonsense",
        "No such container: nonsense",
    ),
    (
        "network connect host RUN",
        "cannot connect container to host network - container must be created in host network mode",
    ),
    (
        "network connect none RUN",
        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    ),
    (
        "network connect bridge STOPHOST",
        "container sharing network namespace with another container or host cannot be connected to any other network",
    ),
    (
        "network connect NET HOSTRUN",
        "container sharing network namespace with another container or host cannot be connected to any other network",
    ),
    (
        "network connect --ip 10.99.0.1 NET2 RUN",
        "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.99.0.1",
    ),
    (
        "network connect --ip 10.77.142.1 NET2 RUN",
        "Address already in use",
    ),
    (
        "network connect --ip 10.77.142.0 NET2 RUN",
        "Address already in use",
    ),
    (
        "network connect --ip 10.77.142.255 NET2 RUN",
        "Address already in use",
    ),
    (
        "network connect --ip 10.77.142.2 NET2 RUN",
        "Address already in use",
    ),
    (
        "network connect --ip 0.0.0.0 NET2 RUN",
        "invalid endpoint settings:\n* invalid IPv4 address: 0.0.0.0\n* no configured subnet or ip-range contain the IP address 0.0.0.0",
    ),
    (
        "network connect --ip6 fd00:77::9 NET2 RUN",
        "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
    ),
    (
        "network connect --ip 172.31.0.9 NETAUTO RUN",
        "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
    ),
    (
        "network connect --link-local-ip nonsense NET2 RUN",
        "invalid endpoint settings:\ninvalid link-local IP address: nonsense",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.sysctls=nonsense NET2 RUN",
        "invalid endpoint settings:\nunrecognised network interface sysctl 'nonsense'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1 NET2 RUN",
        "invalid endpoint settings:\nunrecognised network interface sysctl 'net.ipv4.ip_forward=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'",
    ),
    (
        "network connect CFG RUN",
        "cannot create endpoint on configuration-only network",
    ),
    (
        "network connect --ip 10.99.0.1 NET2 STOP",
        "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.99.0.1",
    ),
    (
        "network connect host STOP",
        "cannot connect container to host network - container must be created in host network mode",
    ),
    (
        "network disconnect nonsense RUN",
        "network nonsense not found",
    ),
    (
        "network disconnect NET nonsense",
        "No such container: nonsense",
    ),
    (
        "network disconnect -f NET nonsense",
        "endpoint nonsense not found",
    ),
    (
        "network disconnect NET2 RUN",
        "container ID is not connected to network NET2",
    ),
    (
        "network disconnect -f NET2 RUN",
        "container ID is not connected to network NET2",
    ),
    (
        "network disconnect NET2 STOP",
        "container ID is not connected to the network NET2",
    ),
    (
        "network disconnect host HOSTRUN",
        "cannot disconnect container from host network - container was created in host network mode",
    ),
    (
        "network disconnect host RUN",
        "container ID is not connected to network host",
    ),
    ("network rm nonsense", "network nonsense not found"),
    (
        "network rm bridge",
        "bridge is a pre-defined network and cannot be removed",
    ),
    (
        "network rm host",
        "host is a pre-defined network and cannot be removed",
    ),
    (
        "network rm none",
        "none is a pre-defined network and cannot be removed",
    ),
    (
        "network rm bridge nonsense",
        "bridge is a pre-defined network and cannot be removed\nError response from daemon: network nonsense not found",
    ),
    (
        "network rm NET",
        "error while removing network: network NET has active endpoints (name:\"RUN\" id:\"ID12\")",
    ),
    (
        "network rm -f NET",
        "error while removing network: network NET has active endpoints (name:\"RUN\" id:\"ID12\")",
    ),
    ("network rm a/b", "network a/b not found"),
    (
        "network rm NET2 nonsense",
        "error while removing network: network NET2 has active endpoints (name:\"OTHER\" id:\"ID12\")\nError response from daemon: network nonsense not found",
    ),
    (
        "network prune -f --filter nonsense=x",
        "invalid filter 'nonsense'",
    ),
    (
        "network prune -f --filter until=nonsense",
        "failed to parse value as time or duration: \"nonsense\"",
    ),
    (
        "network prune -f --filter dangling=true",
        "invalid filter 'dangling'",
    ),
    (
        "network prune -f --filter label!=nonsense --filter nonsense=1",
        "invalid filter 'nonsense'",
    ),
    (
        "run --rm --network nonsense busybox true",
        "failed to set up container networking: network nonsense not found",
    ),
    (
        "run --rm --network NET --ip 10.99.0.1 busybox true",
        "invalid config for network NET: invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.99.0.1",
    ),
    (
        "run --rm --network bridge --ip 172.17.0.99 busybox true",
        "invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only",
    ),
    (
        "run --rm --network host --ip 10.77.140.9 busybox true",
        "invalid config for network host: invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n* user specified IP address is supported only when connecting to networks with user configured subnets",
    ),
    (
        "run --rm --network container:nonsense busybox true",
        "joining network namespace of container: No such container: nonsense",
    ),
    (
        "run --rm --network container: busybox true",
        "invalid network mode: invalid container format container:<name|id>",
    ),
    (
        "run --rm --network container:RUN -p 80 busybox true",
        "conflicting options: port publishing and the container type network mode",
    ),
    (
        "run --rm --network container:RUN -h x busybox true",
        "conflicting options: hostname and the network mode",
    ),
    (
        "run --rm --network container:RUN --dns 1.1.1.1 busybox true",
        "conflicting options: dns and the network mode",
    ),
    (
        "run --rm --network container:RUN --add-host a:1.2.3.4 busybox true",
        "conflicting options: custom host-to-IP mapping and the network mode",
    ),
    (
        "run --rm --network container:RUN --expose 80 busybox true",
        "conflicting options: port exposing and the container type network mode",
    ),
    (
        "run --rm --network container:RUN --link RUN busybox true",
        "conflicting options: container type network can't be used with links. This would result in undefined behavior",
    ),
    (
        "run --rm --network container:STOP busybox true",
        "cannot join network namespace of a non running container: container STOP is created",
    ),
    (
        "run --rm --network CFG busybox true",
        "failed to set up container networking: cannot create endpoint on configuration-only network",
    ),
    (
        "run --rm --link nonsense busybox true",
        "could not get container for nonsense: No such container: nonsense",
    ),
    (
        "run --rm --link nonsense:x busybox true",
        "could not get container for nonsense: No such container: nonsense",
    ),
    (
        "network connect --alias x none RUN",
        "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks",
    ),
    (
        "network connect --alias x host STOP",
        "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks",
    ),
    (
        "run --rm --link HOSTRUN:x busybox true",
        "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    ),
];

/// Commands, what we say to them, and how that differs from dockerd.
const OWN: &[(&str, &str, &str)] = &[
    (
        "network create --ipam-opt a=b NETX",
        "an option of the default IPAM driver is not supported",
        "refused where dockerd ignores it",
    ),
    (
        "network create --scope nonsense NETX",
        "invalid network scope: nonsense",
        "refused where dockerd ignores it",
    ),
    (
        "network create -o com.docker.network.bridge.host_binding_ipv4=::1 NETX",
        "failed to parse com.docker.network.bridge.host_binding_ipv4 value: ::1 (not an IPv4 address)",
        "refused where dockerd ignores it",
    ),
    (
        "network create -o com.docker.network.bridge.name=averyverylonginterfacename NETX",
        "invalid interface name: averyverylonginterfacename",
        "the name is said, not the kernel's number",
    ),
    (
        "network create -o com.docker.network.bridge.name=a/b NETX",
        "invalid interface name: a/b",
        "the name is said, not the kernel's number",
    ),
    (
        "network create -o com.docker.network.driver.mtu=99999999 NETX",
        "invalid MTU number: 99999999",
        "the value is said, not the kernel's number",
    ),
    (
        "network create -o com.docker.network.endpoint.ifname=x NETX",
        "network option com.docker.network.endpoint.ifname is not supported",
        "refused where dockerd ignores it",
    ),
    (
        "network connect --ip nonsense NET2 RUN",
        "invalid endpoint settings:\ninvalid IPv4 address: nonsense",
        "the first problem alone",
    ),
    (
        "network connect --ip fd00:77::7 NET2 RUN",
        "invalid endpoint settings:\ninvalid IPv4 address: fd00:77::7",
        "the first problem alone",
    ),
    (
        "network connect --ip6 nonsense NET2 RUN",
        "invalid endpoint settings:\ninvalid IPv6 address: nonsense",
        "the first problem alone",
    ),
    (
        "network connect --ip6 10.77.142.9 NET2 RUN",
        "invalid endpoint settings:\ninvalid IPv6 address: 10.77.142.9",
        "the first problem alone",
    ),
    (
        "network connect --link-local-ip 10.1.2.3 NET2 RUN",
        "invalid endpoint settings:\ninvalid link local IP address: 10.1.2.3",
        "said with the other problems of the endpoint",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.nonsense=1 NET2 RUN",
        "failed to set up the network of container ID12: /proc/sys/net/ipv4/conf/eth1/nonsense is not a sysctl file",
        "without the name of a link",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.ifname=averyverylonginterfacename NET2 RUN",
        "invalid endpoint settings:\ninvalid interface name: averyverylonginterfacename",
        "said before anything is made, without the name of a link",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.ifname=a/b NET2 RUN",
        "invalid endpoint settings:\ninvalid interface name: a/b",
        "said before anything is made, without the name of a link",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.ifname=eth0 NET2 RUN",
        "interface name eth0 is used twice",
        "said before anything is made, without the name of a link",
    ),
    (
        "network connect --driver-opt com.docker.network.endpoint.ifname=lo NET2 RUN",
        "interface name lo is used twice",
        "said before anything is made, without the name of a link",
    ),
    (
        "network connect CFG STOP",
        "cannot create endpoint on configuration-only network",
        "at once, not at the start",
    ),
    (
        "network connect --ip nonsense NET2 STOP",
        "invalid endpoint settings:\ninvalid IPv4 address: nonsense",
        "the first problem alone",
    ),
    (
        "run --rm --network NET --ip nonsense busybox true",
        "invalid config for network NET: invalid endpoint settings:\ninvalid IPv4 address: nonsense",
        "the first problem alone",
    ),
    (
        "run --rm --network NET --mac-address 92:d0:c6:0a:29:33:11:22 busybox true",
        "invalid config for network NET: invalid MAC address 92:d0:c6:0a:29:33:11:22",
        "before anything is made",
    ),
];

struct Bed {
    engine: Engine,
    /// Each of [`NAMES`] with the name that stands behind it.
    names: Vec<(&'static str, String)>,
}

impl Bed {
    fn new() -> Self {
        let engine = Engine::start();
        let names = NAMES
            .iter()
            .map(|what| (*what, engine.name(&what.to_lowercase())))
            .collect();
        let bed = Self { engine, names };
        for command in [
            "network create --subnet 10.77.140.0/24 NET",
            "network create --subnet 10.77.142.0/24 NET2",
            "network create NETAUTO",
            "network create --config-only --subnet 10.77.143.0/24 CFG",
            "run -d --name RUN --network NET busybox sleep 600",
            "run -d --name OTHER --network NET2 busybox sleep 600",
            "create --name STOP --network NET busybox sleep 600",
            "run -d --name HOSTRUN --network host busybox sleep 600",
            "create --name STOPHOST --network host busybox sleep 600",
        ] {
            let words = bed.words(command);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            bed.engine.docker(&words).ok();
        }
        bed
    }

    fn words(&self, command: &str) -> Vec<String> {
        let word = |word: &str| match word {
            "\"\"" => String::new(),
            word => self
                .names
                .iter()
                .fold(word.to_owned(), |word, (what, name)| {
                    // A name of ours never has an upper-case letter.
                    word.replace(what, name)
                }),
        };
        command.split(' ').map(word).collect()
    }

    /// The exit code and the engine's words, with IDs and names put back.
    fn says(&self, command: &str) -> (i32, String) {
        // Of its own each time: what is refused late has its name until then.
        let new = self.engine.name("netx");
        let words = self.words(&command.replace("NETX", &new));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.engine.docker(&words);
        let said = output.stderr.trim();
        let said = said.split("\n\nRun 'docker").next().unwrap_or_default();
        let said = said.trim_start_matches("docker: ");
        let said = said.trim_start_matches("Error response from daemon: ");
        let mut said = said.replace("\nexit status 1", "");
        said = said.replace(&new, "NETX");
        for (what, name) in &self.names {
            said = said.replace(name, what);
        }
        (output.code, without_ids(&said))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Containers first: networks with somebody on them stay.
        for resource in ["containers", "networks"] {
            for (_, name) in &self.names {
                let path = format!("/{resource}/{name}?force=1");
                self.engine.http().delete(&path);
            }
        }
    }
}

/// The text with `ID` and `ID12` for IDs.
fn without_ids(text: &str) -> String {
    let is_hex = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
    let word = |word: &str| {
        let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let end = word.strip_prefix(bare).unwrap_or_default();
        match bare.len() {
            64 if bare.chars().all(is_hex) => format!("ID{end}"),
            12 if bare.chars().all(is_hex) => format!("ID12{end}"),
            _ => word.to_owned(),
        }
    };
    words.map(word).collect()
}

/// Asks for everything at once, and tells what is not as it should be.
fn wrong<'a>(bed: &Bed, cases: impl Iterator<Item = (&'a str, &'a str)> + Send) -> Vec<String> {
    let left = Mutex::new(cases);
    let wrong = Mutex::new(Vec::new());
    let take = || left.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((command, expected)) = take() {
                    let code = if command.starts_with("run") { 125 } else { 1 };
                    let said = bed.says(command);
                    if said != (code, expected.to_owned())
                        && let Ok(mut wrong) = wrong.lock()
                    {
                        wrong.push(format!("{command}: {said:?}\n  instead of {expected:?}"));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap_or_default()
}

#[test]
fn bad_values_are_refused_in_dockerds_words() {
    let bed = Bed::new();
    let found = wrong(&bed, SAME.iter().copied());
    assert!(found.is_empty(), "{}", found.join("\n"));
    if bed.engine.is_own() {
        let own = OWN.iter().map(|(command, said, _why)| (*command, *said));
        let found = wrong(&bed, own);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
