//! Attached clients.

use std::os::fd::OwnedFd;

use arca_shim_proto::{AttachEnd, AttachSpec, Event};

use super::{Shim, complain};
use crate::client::{Client, Owner, Received};
use crate::poller::{READ, Token, WRITE};

/// How much is read from a client at once.
const CHUNK: usize = 128 << 10;

impl Shim {
    /// Takes a client in; it gets output from now on.
    pub(super) fn add_client(
        &mut self,
        process: u32,
        spec: AttachSpec,
        socket: OwnedFd,
        owner: Owner,
    ) -> u32 {
        let number = self.number();
        let tty = self
            .processes
            .get(&process)
            .is_some_and(|process| process.tty);
        let client = Client::new(spec, socket, process, owner, tty);
        self.clients.insert(number, client);
        number
    }

    /// Begins to read what a client sends, once its process runs.
    pub(super) fn open_session(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        let process = client.process;
        let open = self
            .processes
            .get(&process)
            .is_some_and(|process| process.input.fd().is_some());
        client.stdin &= open;
        let early = client.take_early();
        if client.stdin && !early.is_empty() {
            let mut bytes = Vec::new();
            let received = client.scan(&early, &mut bytes);
            self.received(number, process, received, &bytes);
        }
        self.settle_clients(process);
        self.settle_input(process);
    }

    /// The numbers of a process's clients.
    pub(super) fn clients_of(&self, process: u32) -> impl Iterator<Item = u32> {
        let of = self
            .clients
            .iter()
            .filter(move |(_, client)| client.process == process);
        of.map(|(number, _)| *number)
    }

    /// Sends a piece of output to all clients of a process.
    pub(super) fn send_to_clients(&mut self, process: u32, stream: u8, bytes: &[u8]) {
        let mut gone = Vec::new();
        for (number, client) in &mut self.clients {
            if client.process == process && client.send(stream, bytes).is_err() {
                gone.push(*number);
            }
        }
        for number in gone {
            self.client_gone(number);
        }
    }

    /// A client can take more, has sent something, or has hung up.
    pub(super) fn serve_client(&mut self, number: u32, hung_up: bool) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        let process = client.process;
        if client.wants_write() && client.flush().is_err() {
            self.client_gone(number);
            return;
        }
        client.hung_up |= hung_up;
        if client.reads() {
            self.read_client(number, process);
        } else if hung_up && !client.stdin {
            self.client_gone(number);
            return;
        }
        self.settle_clients(process);
        self.settle_input(process);
        // What was held back for this client may go on.
        self.open_streams(process);
    }

    fn read_client(&mut self, number: u32, process: u32) {
        self.warm = true;
        if self.scratch.len() < CHUNK {
            self.scratch = vec![0; CHUNK * 2];
        }
        let mut bytes = Vec::new();
        loop {
            let full = self
                .processes
                .get(&process)
                .is_none_or(|process| process.input.is_full());
            let Some(client) = self
                .clients
                .get_mut(&number)
                .filter(|client| client.reads())
            else {
                return;
            };
            if full {
                return;
            }
            bytes.clear();
            let received = client.receive(&mut self.scratch, &mut bytes);
            if received == Received::Nothing {
                return;
            }
            let once = !client.hung_up;
            self.received(number, process, received, &bytes);
            if once {
                return;
            }
        }
    }

    /// Passes on what came from a client.
    fn received(&mut self, number: u32, process_number: u32, received: Received, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(&process_number) else {
            return;
        };
        process.input.push(bytes);
        match received {
            Received::Nothing | Received::Bytes => {}
            Received::Detach => self.end_session(number, AttachEnd::Detached),
            Received::End => {
                let closes = process.close_stdin && !process.tty;
                if closes {
                    process.input.close();
                }
                let Some(client) = self.clients.get_mut(&number) else {
                    return;
                };
                client.stdin = false;
                // As in dockerd: a session goes on without input only if it was for one input.
                if !closes || client.hung_up || !client.has_output() {
                    self.end_session(number, AttachEnd::ClientGone);
                }
            }
        }
    }

    /// Reads on from clients that have hung up, whose input had to wait.
    pub(super) fn read_hung_up(&mut self, process: u32) {
        let waiting: Vec<u32> = self
            .clients_of(process)
            .filter(|number| {
                self.clients
                    .get(number)
                    .is_some_and(|client| client.hung_up)
            })
            .collect();
        for number in waiting {
            self.read_client(number, process);
        }
        self.settle_input(process);
        self.settle_clients(process);
    }

    /// Nothing more comes for a client: its connection is closed when it has taken what is left.
    pub(super) fn end_session(&mut self, number: u32, end: AttachEnd) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        client.ending.get_or_insert(end);
        let process = client.process;
        let gone = client.hung_up || client.flush().is_err();
        if gone || !client.wants_write() {
            self.close_client(number);
        }
        // It holds the process up no longer.
        self.open_streams(process);
    }

    /// A client is gone; what it had attached of standard input ends with it.
    fn client_gone(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        let process = client.process;
        if client.stdin && client.ending.is_none() {
            // It may have sent something before it went.
            client.hung_up = true;
            self.read_client(number, process);
            if self.clients.get(&number).is_some_and(Client::reads) {
                self.settle_clients(process);
                self.settle_input(process);
                return;
            }
            self.settle_input(process);
        }
        if let Some(client) = self.clients.get_mut(&number) {
            client.ending.get_or_insert(AttachEnd::ClientGone);
            self.close_client(number);
        }
        self.open_streams(process);
    }

    fn close_client(&mut self, number: u32) {
        let Some(client) = self.clients.remove(&number) else {
            return;
        };
        if client.registered.is_some() {
            self.poller.remove(&client.socket);
        }
        let end = client.ending.unwrap_or(AttachEnd::Ended);
        let owner = client.owner;
        client.close();
        let event = Event::AttachEnded {
            session: owner.session,
            end,
        };
        self.tell_one(owner.connection, &event);
        self.forget_finished();
    }

    /// Waits for what the clients of a process can do next.
    pub(super) fn settle_clients(&mut self, process: u32) {
        let state = self.processes.get(&process);
        let started = state.is_some_and(|process| process.started.is_some());
        let room = state.is_some_and(|process| process.input.is_open() && !process.input.is_full());
        let mut done = Vec::new();
        for (number, client) in &mut self.clients {
            if client.process != process {
                continue;
            }
            if client.ending.is_some() && !client.wants_write() {
                done.push(*number);
                continue;
            }
            // One that has hung up is always ready; it is read when there is room.
            let wanted = (started && !client.hung_up)
                .then_some((client.reads() && room, client.wants_write()));
            if let Err(error) = register(&self.poller, *number, client, wanted) {
                complain("a client cannot be waited for", &error);
                done.push(*number);
            }
        }
        for number in done {
            self.close_client(number);
        }
    }
}

/// Brings what is registered with the poller in line with what is wanted.
fn register(
    poller: &crate::poller::Poller,
    number: u32,
    client: &mut Client,
    wanted: Option<(bool, bool)>,
) -> std::io::Result<()> {
    if client.registered == wanted {
        return Ok(());
    }
    let token = Token::Client(number);
    match wanted {
        None => poller.remove(&client.socket),
        Some((read, write)) => {
            let mut flags = rustix::event::epoll::EventFlags::empty();
            flags.set(READ, read);
            flags.set(WRITE, write);
            if client.registered.is_some() {
                poller.change(&client.socket, token, flags)?;
            } else {
                poller.add(&client.socket, token, flags)?;
            }
        }
    }
    client.registered = wanted;
    Ok(())
}
