//! The process that answers, and arcad's side of it.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::dns::kept::Old;
use crate::dns::orders::{Everything, Reply, VERSION, read, write};
use crate::error::Error;

/// Serves the socket in a directory on a thread, as the program does; returns when it listens.
async fn keeper(directory: &std::path::Path) -> std::thread::JoinHandle<Result<(), Error>> {
    let socket = directory.join("dns.sock");
    let number = || {
        std::fs::metadata(&socket)
            .map(|metadata| metadata.ino())
            .ok()
    };
    let (before, path) = (number(), directory.to_owned());
    let thread = std::thread::spawn(move || keep_names(&path));
    while number() == before {
        tokio::task::yield_now().await;
    }
    thread
}

#[test]
fn a_process_of_its_own_answers_while_nobody_tells_it_anything() {
    in_namespace(async {
        let directory = tempfile::TempDir::new().unwrap();
        let keeper = keeper(directory.path()).await;
        let sockets = Sockets::bind().unwrap();
        let address = SocketAddr::new(ADDRESS.into(), sockets.ports().unwrap().0);
        let kept = || Arc::new(Kept::new("/nowhere".into(), directory.path().to_owned()));
        let sandboxes = || [("s".to_owned(), config())].into();
        let first = kept();
        let names = names();
        let begin = |kept: &Arc<Kept>| names.with_all(|all| kept.begin(all, sandboxes(), || {}));
        assert_eq!(begin(&first).unwrap(), ["s"]);
        let order = Order::Serve("s".to_owned(), config());
        first.order(&order, Some(&sockets)).unwrap();
        drop(sockets);
        assert_eq!(addresses(address, "web", kind::A).await, [ip("10.0.0.2")]);
        names.follow(Arc::clone(&first));
        let later = Named {
            names: vec!["late".to_owned()],
            addresses: vec![ip("10.0.0.4")],
        };
        names.set(NETWORK, "front", "e3", later);
        // An order with an answer comes after those without.
        let order = Order::Configure("s".to_owned(), config());
        first.order(&order, None).unwrap();
        drop(first);
        assert_eq!(addresses(address, "late", kind::A).await, [ip("10.0.0.4")]);
        // The next one finds everything in its place.
        let second = kept();
        assert!(begin(&second).unwrap().is_empty());
        second.order(&Order::End("s".to_owned()), None).unwrap();
        drop((second, names));
        drop(directory);
        assert!(!keeper.is_finished());
    });
}

/// A server outside that answers when it is told to.
async fn patient(answer: IpAddr) -> (u16, tokio::sync::oneshot::Sender<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        told.await.unwrap();
        let request = &buffer[..length];
        let query = message::parse(request).unwrap();
        let answers = [message::Answer::Address(answer)];
        let response = message::respond(request, &query, code::OK, &answers);
        socket.send_to(&response, client).await.unwrap();
    });
    (port, tell)
}

#[test]
fn sockets_are_handed_over_and_what_was_asked_is_answered() {
    in_namespace(async {
        let (port, tell) = patient(ip("192.0.2.9")).await;
        let (server, address) = start(&[ip("127.0.0.1")], port);
        let slow = tokio::spawn(addresses(address, "slow.example", kind::A));
        let known = addresses(address, "web", kind::A).await;
        assert_eq!(known, [ip("10.0.0.2")]);
        while server.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let [udp, tcp] = server.hand_over().unwrap();
        let sockets = Sockets {
            udp: udp.into(),
            tcp: tcp.into(),
        };
        assert!(!server.is_done());
        let other = Arc::new(Names::default());
        let named = Named {
            names: vec!["new".to_owned()],
            addresses: vec![ip("10.0.0.9")],
        };
        other.set(NETWORK, "front", "e9", named);
        let _next = Server::start(sockets, other, &config()).unwrap();
        assert_eq!(addresses(address, "new", kind::A).await, [ip("10.0.0.9")]);
        tell.send(()).unwrap();
        assert_eq!(slow.await.unwrap(), [ip("192.0.2.9")]);
        while !server.is_done() {
            tokio::task::yield_now().await;
        }
    });
}

/// Asks one question after the other until it is over; returns how many were answered.
fn ask_on(
    server: SocketAddr,
    over: Arc<std::sync::atomic::AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut count = 0;
        while !over.load(Ordering::Relaxed) {
            assert_eq!(addresses(server, "web", kind::A).await, [ip("10.0.0.2")]);
            count += 1;
        }
        count
    })
}

#[test]
fn another_process_takes_over_what_one_has_and_the_former_ends() {
    in_namespace(async {
        let directory = tempfile::TempDir::new().unwrap();
        let former = keeper(directory.path()).await;
        let kept = Arc::new(Kept::new("/nowhere".into(), directory.path().to_owned()));
        let names = names();
        let sandboxes = || -> BTreeMap<String, DnsConfig> {
            [("s".to_owned(), config()), ("t".to_owned(), config())].into()
        };
        let begin = || names.with_all(|all| kept.begin(all, sandboxes(), || {}));
        assert_eq!(begin().unwrap(), ["s", "t"]);
        let mut asked = Vec::new();
        for sandbox in ["s", "t"] {
            let sockets = Sockets::bind().unwrap();
            asked.push(SocketAddr::new(ADDRESS.into(), sockets.ports().unwrap().0));
            let order = Order::Serve(sandbox.to_owned(), config());
            kept.order(&order, Some(&sockets)).unwrap();
        }
        let old = Old::new(&kept).unwrap();
        let latter = keeper(directory.path()).await;
        // Everybody goes on asking, one question after the other.
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let load = asked
            .iter()
            .map(|address| ask_on(*address, Arc::clone(&over)));
        let load: Vec<_> = load.collect();
        let mut new =
            std::os::unix::net::UnixStream::connect(directory.path().join("dns.sock")).unwrap();
        let moved = tokio::task::spawn_blocking(move || {
            let everything = Order::Everything(Everything {
                version: VERSION,
                names: names.with_all(|all| all),
                sandboxes: sandboxes(),
            });
            write(&mut new, &everything, &[]).unwrap();
            let Some((Reply::Lacks(lacking), _)) = read::<Reply>(&mut new).unwrap() else {
                panic!("it lacks everything");
            };
            drop(kept);
            let lost = old.hand_over(&mut new, lacking, &sandboxes());
            (lost, new)
        });
        let (lost, new) = moved.await.unwrap();
        assert!(lost.is_empty());
        tokio::task::spawn_blocking(|| former.join().unwrap().unwrap())
            .await
            .unwrap();
        over.store(true, Ordering::Relaxed);
        for one in load {
            assert!(one.await.unwrap() > 0);
        }
        for address in asked {
            assert_eq!(addresses(address, "web", kind::A).await, [ip("10.0.0.2")]);
        }
        assert!(!latter.is_finished());
        drop(new);
    });
}
