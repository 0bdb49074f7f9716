//! Tests run in a network namespace of their own.

use std::future::Future;

use crate::netlink::{Socket, link};

/// Runs `test` in a new network namespace whose loopback is up, on a tokio runtime of its own.
///
/// Threads that the runtime starts are in the namespace too.
pub(crate) fn in_namespace<F: Future<Output = ()> + Send>(test: F) {
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                arca_sys::network::unshare_network().unwrap();
                let mut socket = Socket::route().unwrap();
                socket.request(vec![link::set_up(1)]).unwrap();
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(test);
            })
            .join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
